// Shows the top ten, again at every change, until interrupted: node watch.mjs [URL]
import { QUERY, QUERY_CONFIG, table } from "./movies.mjs";
import { Client, define, runAsScript } from "./wire.mjs";

/** Calls `show` with the present top ten and with every later one. */
export async function watch(url, show) {
  const client = await Client.connect(url);
  await define(client, "store.defineQuery", QUERY, QUERY_CONFIG);
  await client.subscribe(QUERY, show);
  return client;
}

await runAsScript(import.meta, async (url) => {
  let seen = 0;
  const client = await watch(url, (records) => {
    console.log(`${seen === 0 ? "now" : `push ${seen}`}:\n${table(records)}\n`);
    seen++;
  });
  throw new Error(await client.closed);
});
