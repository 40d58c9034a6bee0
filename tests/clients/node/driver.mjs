// Drives the official JavaScript clients: one JSON command a line in, one JSON answer a line out.
import { createInterface } from "node:readline";
import { EventSource } from "eventsource";
import { GrowthBook, GrowthBookClient, setPolyfills } from "@growthbook/growthbook";
import { growthbookTrackingPlugin } from "@growthbook/growthbook/plugins";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature as Server } from "@openfeature/server-sdk";
import { OpenFeature as Web } from "@openfeature/web-sdk";

// a browser has one; each kind of client looks for it in a place of its own
globalThis.EventSource = EventSource;
setPolyfills({ EventSource });

const clients = {
  async growthbook({ url, flag, fallback, sticky }) {
    const plugin = growthbookTrackingPlugin({ ingestorHost: url, queueFlushInterval: 20 });
    const stickyBucketService = sticky && stuck(sticky);
    const gb = new GrowthBook({
      apiHost: url,
      clientKey: sticky ? "sdk-sticky" : "sdk-one",
      plugins: [plugin],
      stickyBucketService,
      stickyBucketAttributes: sticky && ["order_id"],
    });
    await gb.init({ streaming: true, skipCache: true });
    return {
      async arm(context) {
        await gb.setAttributes(context);
        return gb.getFeatureValue(flag, fallback).arm;
      },
      async log({ context, name, properties }) {
        await gb.setAttributes(context);
        await gb.logEvent(name, properties);
      },
      close: () => gb.destroy(),
    };
  },

  async "growthbook for many users"({ url, flag, fallback }) {
    const gb = new GrowthBookClient({
      apiHost: url,
      clientKey: "sdk-many",
      plugins: [growthbookTrackingPlugin({ ingestorHost: url, queueFlushInterval: 20 })],
    });
    await gb.init({ streaming: true, skipCache: true });
    return {
      arm: async (context) => gb.getFeatureValue(flag, fallback, { attributes: context }).arm,
      close: () => gb.destroy(),
    };
  },

  async "ofrep-provider"({ url, flag, fallback }) {
    await Server.setProviderAndWait(new OFREPProvider({ baseUrl: url }));
    const client = Server.getClient();
    return {
      arm: async (context) =>
        (await client.getObjectDetails(flag, fallback, { targetingKey: "somebody", ...context }))
          .value.arm,
      details: (context) => client.getObjectDetails(flag, fallback, context),
      close: () => Server.close(),
    };
  },

  async "ofrep-web-provider"({ url, flag, fallback }) {
    let held;
    await Web.setContext({ targetingKey: "somebody" });
    await Web.setProviderAndWait(new OFREPWebProvider({ baseUrl: url, cacheMode: "disabled" }));
    const client = Web.getClient();
    client.addHooks(exposures(url));
    return {
      async arm(context) {
        const now = JSON.stringify(context);
        // a page has one user: another context is another page, the same one only looks
        if (held !== now) await Web.setContext({ targetingKey: "somebody", ...context });
        held = now;
        return client.getObjectValue(flag, fallback).arm;
      },
      details: async () => client.getObjectDetails(flag, fallback),
      close: () => Web.close(),
    };
  },
};

// what a page adds to the web client; docs/clients.md has it with segments and retries
function exposures(url) {
  const headers = { "Content-Type": "application/json" };
  const sent = new Set();
  return {
    after({ flagKey, context }, { variant, flagMetadata }) {
      const unit = context.order_id;
      const seen = `${variant} ${unit}`;
      if (!flagMetadata["turnback.exposed"] || sent.has(seen)) return;
      const event = {
        id: crypto.getRandomValues(new Uint32Array(4)).join("-"),
        name: "exposure",
        happened_at: new Date().toISOString(),
        units: { order_id: String(unit) },
        fields: { experiment: flagKey, variant },
      };
      const body = JSON.stringify([event]);
      fetch(`${url}/api/v1/events`, { method: "POST", headers, body }).catch(() => {});
      sent.add(seen);
    },
  };
}

// a sticky bucket service that says every unit has this arm already
function stuck(arm) {
  const doc = (attributeName, attributeValue) => ({
    attributeName,
    attributeValue,
    assignments: Object.fromEntries([0, 1, 2].map((v) => [`cancel-page__${v}`, arm])),
  });
  return {
    prefix: "",
    getAssignments: async (name, value) => doc(name, value),
    saveAssignments: async () => {},
    getKey: (name, value) => `${name}||${value}`,
    getAllAssignments: async (attributes) =>
      Object.fromEntries(
        Object.entries(attributes).map(([k, v]) => [`${k}||${v}`, doc(k, String(v))]),
      ),
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const open = new Map();

const commands = {
  async open({ client, as = client, ...settings }) {
    open.set(as, await clients[client](settings));
    return true;
  },
  async arms({ client, contexts }) {
    const arms = [];
    for (const context of contexts) arms.push(await open.get(client).arm(context));
    return arms;
  },
  // until the client itself answers so: the time of day, in seconds
  async until({ client, context, arm }) {
    while ((await open.get(client).arm(context)) !== arm) await pause(2);
    return (performance.timeOrigin + performance.now()) / 1000;
  },
  details: ({ client, context }) => open.get(client).details(context),
  async log({ client, ...event }) {
    await open.get(client).log(event);
    return true;
  },
  async close({ client }) {
    await open.get(client).close();
    open.delete(client);
    return true;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...given } = JSON.parse(line);
  commands[command](given).then(
    (result) => console.info(JSON.stringify({ id, result })),
    (error) => console.info(JSON.stringify({ id, error: String(error.stack ?? error) })),
  );
}
process.exit(0);
