// All three clients, and a check of what the watcher saw: node run.mjs [URL]
import { isDeepStrictEqual } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { load } from "./load.mjs";
import { applied, changes, table, topTen } from "./movies.mjs";
import { rate } from "./rate.mjs";
import { watch } from "./watch.mjs";
import { runAsScript } from "./wire.mjs";

// A push takes milliseconds; this only ends a run in which it never comes.
const PUSH_LIMIT_MS = 10_000;
const POLL_MS = 20;

/** Only what the films file and the changes say: not the version and times that the server adds. */
function essence(records) {
  return records.map(({ id, title, year, rating, votes }) => ({ id, title, year, rating, votes }));
}

function compare(what, seen, computed) {
  if (isDeepStrictEqual(essence(seen), essence(computed))) return;
  throw new Error(`${what}: the server says\n${table(seen)}\ncomputed from the file:\n${table(computed)}`);
}

async function run(url) {
  const films = await load(url);
  const results = [];
  const watcher = await watch(url, (records) => results.push(records));

  console.log(`\nten best rated since 2000, before:\n${table(results[0])}\n`);
  compare("before", results[0], topTen(films));

  const list = changes(films);
  const after = topTen(applied(films, list));
  await rate(url, list);
  const limit = Date.now() + PUSH_LIMIT_MS;
  while (Date.now() < limit && !isDeepStrictEqual(essence(results.at(-1)), essence(after))) await sleep(POLL_MS);

  console.log(`\nafter ${list.length} changed ratings, ${results.length - 1} pushes:\n${table(results.at(-1))}\n`);
  compare("after", results.at(-1), after);
  // Changes may be merged on their way to a slow reader, but never more pushes than changes.
  if (results.length < 2 || results.length - 1 > list.length) {
    throw new Error(`${results.length - 1} pushes for ${list.length} changes`);
  }
  console.log("both tables are what the films file says: computed here, compared, equal");
  watcher.close();
}

await runAsScript(import.meta, run);
