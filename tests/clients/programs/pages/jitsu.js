import { jitsuAnalytics } from "@jitsu/js";

export async function send(url) {
  const client = jitsuAnalytics({ host: url, writeKey: "WK:secret" });
  await client.page({ name: "Pricing" });
  await client.identify("u1", { plan: "pro" });
  await client.track("Trial Started", { plan: "pro" });
  await client.track("Song Played", { title: "x" });
}
