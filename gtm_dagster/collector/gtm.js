// The browser's part: page views, events and consent of a site, sent to the collector that this script comes from.
// Served without comments, indentation and most ends of lines; DEFAULT_CONSENT is what the collector's privacy.consent asks for.
// Nothing here throws into the page, and nothing is stored on the device before the visitor may be counted.
((window, document) => {
  const script = document.currentScript;
  const options = script && script.dataset;
  const stub = window.gtm;
  if (!options || !options.key || (stub && stub.loaded)) return;

  const safely = (action) => (...values) => {
    try {
      return action(...values);
    } catch (error) {}
  };

  // What is kept on the device: the visitor's id, and what the visitor agreed to.
  const domain = options.cookie;
  const load = safely(() =>
    JSON.parse(decodeURIComponent(
      domain === undefined ? localStorage.getItem("gtm") : document.cookie.match(/(?:^|; )gtm=([^;]*)/)[1]
    ))
  );
  const save = safely(() => {
    const text = saved.id ? encodeURIComponent(JSON.stringify(saved)) : "";
    if (domain !== undefined) {
      document.cookie = "gtm=" + text + ";path=/;samesite=lax;max-age=" + (text && 31536000) +
        (domain && ";domain=" + domain) + (location.protocol === "https:" ? ";secure" : "");
    } else if (text) localStorage.setItem("gtm", text);
    else localStorage.removeItem("gtm");
  });
  let saved = load() || {};

  // Version 7 of RFC 9562: 48 bits of milliseconds, the rest random.
  const uuid7 = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    for (let at = 6, left = Date.now(); at--; left = Math.floor(left / 256)) bytes[at] = left % 256;
    bytes[6] = (bytes[6] & 15) | 112;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join("");
    return hex.replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  // Sending. A text as body needs no preflight; what outlives its page may have 64 kB.
  let queue = [];
  let unsent = [];
  let timer;
  const send = (batch, leaving) => {
    const address = new URL("ingest", script.src);
    address.search = new URLSearchParams({ writeKey: options.key, sentAt: new Date().toISOString() });
    const body = JSON.stringify(batch);
    if (leaving && navigator.sendBeacon(address, body)) return;
    const again = (seconds) => {
      if (batch.again) return;
      batch.again = true;
      unsent.push(batch);
      setTimeout(flush, (seconds > 0 ? Math.min(seconds, 60) : 2) * 1000, false, true);
    };
    fetch(address, { method: "POST", body, keepalive: body.length < 6e4, credentials: "omit" }).then(
      (response) => [429, 503].includes(response.status) && again(response.headers.get("retry-after")),
      again
    );
  };
  const flush = safely((leaving, retrying) => {
    clearTimeout(timer);
    timer = 0;
    const batches = leaving || retrying ? unsent.splice(0) : [];
    while (queue[0]) batches.push(queue.splice(0, 20));
    batches.forEach((batch) => send(batch, leaving));
  });

  // Consent. What `choice` does not say is not known; `own` is what the site itself says of this visitor.
  let mode = options.consent || "DEFAULT_CONSENT";
  const choice = Object.assign({}, saved.consent);
  const own = {};
  const pending = [];
  if (mode === "granted" && choice.analytics === undefined) choice.analytics = true;
  const state = () =>
    choice.analytics === undefined
      ? { opt_out: "send", denied: "drop" }[mode] || "hold"
      : choice.analytics ? "send" : "drop";
  const agreed = () =>
    Object.assign({}, choice, navigator.globalPrivacyControl && { marketing: false, personalization: false });
  // A default that denies waits for the choice. A platform's yes is none against the site's own no.
  const decide = (kind, values, fromPlatform) => {
    const isDefault = kind === "default";
    ["analytics", "marketing", "personalization"].forEach((purpose) => {
      const value = values[purpose];
      if (typeof value !== "boolean" || (fromPlatform && value && own[purpose] === false)) return;
      if (!fromPlatform && !isDefault) own[purpose] = value;
      choice[purpose] = value;
      if (isDefault && !value && purpose === "analytics") {
        choice.analytics = undefined;
        if (mode !== "denied") mode = "required";
      }
    });
    const isSent = state() === "send";
    if (!isDefault && (isSent || choice.analytics === false) && JSON.stringify(saved.consent) !== JSON.stringify(choice)) {
      // who was never counted and says no is nobody to write a record of
      if (isSent || saved.id) release(event("consent_updated", agreed()));
      saved = isSent ? { id: saved.id, consent: Object.assign({}, choice) } : {};
      save();
    }
    if (state() !== "hold") pending.splice(0).forEach((one) => isSent && release(one));
  };
  // Google Consent Mode v2. Of a default for regions only a no is taken: the region is not known here.
  const google = {};
  const fromGoogle = safely(([command, kind, values]) => {
    if (command !== "consent" || !values) return;
    for (const name in values) {
      const isGranted = values[name] === "granted";
      if (values[name] === "denied" || (isGranted && !values.region)) google[name] = isGranted;
    }
    const isAsked = "ad_storage" in google || "ad_user_data" in google;
    decide(kind, {
      analytics: google.analytics_storage,
      marketing: isAsked ? !!(google.ad_storage && google.ad_user_data) : undefined,
      personalization: google.personalization_storage === false ? false : google.ad_personalization,
    }, true);
  });
  // IAB TCF v2
  const fromTcf = safely((answer, isGood) => {
    if (!isGood || answer.eventStatus === "cmpuishown") return;
    const yes = answer.purpose.consents;
    decide("update", {
      analytics: !!(yes[1] && (yes[8] || yes[9])),
      marketing: !!(yes[1] && yes[2] && yes[7]),
      personalization: !!(yes[1] && ((yes[3] && yes[4]) || (yes[5] && yes[6]))),
    }, true);
  });

  // IAB GPP: its part for Europe is TCF; of those for the US an opt-out (of sale, sharing, targeted advertising) refuses
  const fromGpp = safely(({ pingData }, isGood) => {
    if (!isGood || pingData.signalStatus !== "ready") return;
    const sections = pingData.parsedSections;
    const [europe] = [].concat(sections.tcfeuv2 || []);
    if (europe) fromTcf({ purpose: { consents: [0, ...europe.PurposeConsents] } }, true);
    if (/OptOut":1|Sale":"Y/.test(JSON.stringify(sections))) decide("update", { marketing: false }, true);
  });

  // Events
  let user, page;
  let referrer = document.referrer;
  const event = (event_name, properties) => ({
    event_id: uuid7(),
    event_name,
    timestamp: new Date().toISOString(),
    user_id: user,
    properties,
    context: {
      page_url: location.href.slice(0, 8192),
      referrer: referrer.slice(0, 8192),
      device_type: /Mobi|Android/.test(navigator.userAgent) ? "mobile" : "web",
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    },
  });
  const release = (one) => {
    if (!saved.id) {
      saved.id = uuid7();
      save();
    }
    one.anonymous_id = saved.id;
    one.context.consent = agreed();
    queue.push(one);
    timer = timer || setTimeout(flush, 200);
  };
  const track = (name, properties) => {
    const now = state();
    if (now === "drop") return;
    const one = event(name, properties);
    if (now === "send") release(one);
    else if (pending.length < 100) pending.push(one);
  };
  // A view is of another address than the last; of the fragment only what routers write counts.
  const view = safely(() => {
    const address = location.href.replace(/#(?![/!]).*/, "");
    if (address === page) return;
    if (page) referrer = page;
    page = address;
    track("page_viewed", { path: location.pathname.slice(0, 2048), title: document.title.slice(0, 512) });
  });

  // What a page may call
  const calls = {
    track,
    identify: (id, traits) => {
      user = id ? String(id) : undefined;
      if (user) track("user_identified", traits);
    },
    consent: (kind, values) => (values ? decide(kind, values) : decide("update", kind)),
    reset: () => {
      user = saved.id = undefined;
      save();
    },
  };
  const call = (window.gtm = safely((name, ...values) => calls[name](...values)));
  call.loaded = true;

  safely(() => {
    const layer = (window.dataLayer = window.dataLayer || []);
    const push = layer.push;
    layer.forEach(fromGoogle);
    layer.push = (...entries) => {
      entries.forEach(fromGoogle);
      return push.apply(layer, entries);
    };
  })();
  safely(() => window.__tcfapi("addEventListener", 2, fromTcf))();
  safely(() => window.__gpp("addEventListener", fromGpp))();

  // The page writes its title after the address.
  const later = () => setTimeout(view);
  ["pushState", "replaceState"].forEach((name) => {
    const original = history[name];
    history[name] = function (...values) {
      later();
      return original.apply(this, values);
    };
  });
  addEventListener("popstate", later);
  addEventListener("pageshow", (shown) => {
    if (shown.persisted) {
      page = "";
      view();
    }
  });
  addEventListener("pagehide", () => {
    view();
    flush(true);
  });
  document.addEventListener("visibilitychange", () => flush());

  const waiting = (stub && stub.q) || [];
  const start = () => {
    waiting.forEach((one) => one[0] === "consent" && call(...one));
    view();
    waiting.forEach((one) => one[0] === "consent" || call(...one));
  };
  if (document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
  else start();
})(window, document);
