import { newTracker, setUserId, trackPageView, trackSelfDescribingEvent } from "@snowplow/browser-tracker";

function sendBy(eventMethod, more) {
  return async (url) => {
    newTracker("sp", url, { appId: "app", eventMethod, ...more });
    if (!more) setUserId("u1");
    trackPageView({ title: "Pricing" });
    const schema = (name) => `iglu:com.acme/${name}/jsonschema/1-0-0`;
    trackSelfDescribingEvent({ event: { schema: schema("trial_started"), data: { plan: "pro" } } });
    trackSelfDescribingEvent({ event: { schema: schema("song_played"), data: { title: "x" } } });
  };
}

export const send = sendBy("post");
export const sendByPixel = sendBy("get");
export const sendAnonymously = sendBy("post", { anonymousTracking: { withServerAnonymisation: true, withSessionTracking: true } });
