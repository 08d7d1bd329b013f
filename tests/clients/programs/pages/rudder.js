import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

export async function send(url) {
  const client = new RudderAnalytics();
  const source = { id: "s", name: "s", writeKey: "WK_test", enabled: true, destinations: [], config: { statsCollection: { errors: { enabled: false }, metrics: { enabled: false } } } };
  client.load("WK_test", url, { getSourceConfig: () => ({ source, updatedAt: "2026-01-01T00:00:00Z" }) });
  client.page("Docs", "Pricing");
  client.identify("u1", { plan: "pro" });
  client.track("Trial Started", { plan: "pro" });
  client.track("Song Played", { title: "x" });
}
