import posthog from "posthog-js";

export async function send(url) {
  posthog.init("phc_test", {
    api_host: url, autocapture: false, capture_pageview: false, capture_pageleave: false, disable_session_recording: true,
    advanced_disable_flags: true, disable_surveys: true, disable_external_dependency_loading: true,
    opt_out_useragent_filter: true, // it takes a browser that a program drives for a bot
  });
  posthog.capture("$pageview");
  posthog.identify("u1", { plan: "pro" });
  posthog.capture("Trial Started", { plan: "pro" });
  posthog.capture("Song Played", { title: "x" });
}
