// Sends with one of the clients for Node.js to each of some collectors: node node_clients.cjs CLIENT URL...
// NODE_PATH is the folder that scripts/install-clients fills. A client makes the same calls for every collector.
"use strict";

const TRIAL = { plan: "pro", trial_days: 14 };
const timestamp = new Date();
const done = (client) => new Promise((resolve) => client.flush(resolve));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const CLIENTS = {
  async segment(url) {
    const { Analytics } = require("@segment/analytics-node");
    const client = new Analytics({ writeKey: "WK_test", host: url, path: "/v1/batch", flushInterval: 200 });
    client.on("error", () => {});
    client.identify({ userId: "u1", traits: { plan: "pro" } });
    client.track({ userId: "u1", event: "Trial Started", properties: TRIAL, timestamp });
    client.track({ userId: "u1", event: "Song Played", properties: { title: "x" } });
    client.page({ anonymousId: "a1", name: "Pricing", properties: { url: "https://shop.example/p", path: "/p" } });
    client.alias({ userId: "u1", previousId: "a1" });
    await client.closeAndFlush({ timeout: 9000 });
  },

  async analytics(url) {
    const Analytics = require("analytics-node");
    const client = new Analytics("WK_test", { host: url, flushInterval: 200, errorHandler: () => {} });
    client.identify({ userId: "u1", traits: { plan: "pro" } });
    client.track({ userId: "u1", event: "Trial Started", properties: TRIAL, timestamp });
    client.track({ userId: "u1", event: "Song Played", properties: { title: "x" } });
    await done(client);
    await pause(2500);
  },

  async rudder(url) {
    const Rudder = require("@rudderstack/rudder-sdk-node");
    const client = new (Rudder.default || Rudder)("WK_test", { dataPlaneUrl: url, flushInterval: 200, errorHandler: () => {} });
    client.identify({ userId: "u1", traits: { plan: "pro" } });
    client.track({ userId: "u1", event: "Trial Started", properties: TRIAL, timestamp });
    client.track({ userId: "u1", event: "Song Played", properties: { title: "x" } });
    client.page({ userId: "u1", name: "Pricing" });
    await done(client);
    await pause(2500);
  },

  async posthog(url) {
    const { PostHog } = require("posthog-node");
    const client = new PostHog("phc_test", { host: url, flushInterval: 200 });
    client.capture({ distinctId: "u1", event: "Trial Started", properties: TRIAL, timestamp });
    client.capture({ distinctId: "u1", event: "Song Played", properties: { title: "x" } });
    client.identify({ distinctId: "u1", properties: { plan: "pro" } });
    await client.shutdown(20000);
  },

  async snowplow(url, eventMethod = "post") {
    const snowplow = require("@snowplow/node-tracker");
    const tracker = snowplow.newTracker(
      { namespace: "ns", appId: "app", encodeBase64: true },
      { endpoint: url, eventMethod, bufferSize: 1 },
    );
    tracker.setUserId("u1");
    tracker.track(snowplow.buildPageView({ pageUrl: "https://shop.example/p?gclid=1", pageTitle: "Pricing" }));
    tracker.track(snowplow.buildStructEvent({ category: "shop", action: "add" }));
    tracker.track(
      snowplow.buildSelfDescribingEvent({
        event: { schema: "iglu:com.acme/trial_started/jsonschema/1-0-0", data: TRIAL },
      }),
    );
    tracker.flush();
    await pause(4000);
  },

  snowplow_get: (url) => CLIENTS.snowplow(url, "get"),

  async cloudevents(url) {
    const { CloudEvent, emitterFor, httpTransport, Mode } = require("cloudevents");
    const sink = httpTransport(`${url}/ingest?writeKey=WK_test`);
    for (const [kind, mode] of [["trial_started", Mode.BINARY], ["song_played", Mode.STRUCTURED]]) {
      const event = new CloudEvent({ type: `com.acme.${kind}`, source: "/app", subject: "u1", data: { plan: "pro" } });
      await emitterFor(sink, { mode })(event);
    }
  },

  async jitsu(url, s2s = true) {
    const { jitsuAnalytics } = require("@jitsu/js");
    const client = jitsuAnalytics({ host: url, writeKey: "WK:secret", s2s });
    await client.identify("u1", { plan: "pro" });
    await client.track("Trial Started", TRIAL);
    await client.track("Song Played", { title: "x" });
    await client.page({ name: "Pricing" });
    await pause(200);
  },
};

Promise.all(process.argv.slice(3).map((url) => CLIENTS[process.argv[2]](url))).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
