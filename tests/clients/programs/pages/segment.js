import { AnalyticsBrowser } from "@segment/analytics-next";

export async function send(url) {
  const settings = { integrations: { "Segment.io": { apiKey: "WK_test", apiHost: `${new URL(url).host}/v1`, protocol: "http" } } };
  const [client] = await AnalyticsBrowser.load({ writeKey: "WK_test", cdnSettings: settings });
  await client.page("Docs", "Pricing");
  await client.identify("u1", { plan: "pro" });
  await client.track("Trial Started", { plan: "pro" });
  await client.track("Song Played", { title: "x" });
}
