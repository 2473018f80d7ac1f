// Loads the films: node load.mjs [URL]
import { BUCKET, BUCKET_CONFIG, readMovies } from "./movies.mjs";
import { Client, define, runAsScript } from "./wire.mjs";

// Requests under way at once; answers come in the order of the requests.
const IN_FLIGHT = 256;

export async function load(url) {
  const { films, notes } = await readMovies();
  console.log(
    `${notes.inFile} films in the file; skipped: ${notes.skippedWithoutTitle} without a title; ` +
      `corrected: ${notes.centuryCorrected} years in the wrong century, ${notes.numericTitles} titles stored as numbers; ` +
      `loaded all the same: ${notes.withoutRating} without a rating`,
  );
  const client = await Client.connect(url);
  if (!(await define(client, "store.defineBucket", BUCKET, BUCKET_CONFIG))) {
    console.log(`the bucket "${BUCKET}" is there already: emptying it`);
    await client.request("store.clear", { bucket: BUCKET });
  }
  const start = performance.now();
  const rest = films.values();
  const lane = async () => {
    for (const film of rest) await client.request("store.insert", { bucket: BUCKET, data: film });
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const stored = await client.request("store.count", { bucket: BUCKET });
  console.log(`${stored} films stored in ${Math.round(performance.now() - start)} ms, ${IN_FLIGHT} requests in flight`);
  client.close();
  if (stored !== films.length) throw new Error(`${films.length} films were sent, the server has ${stored}`);
  return films;
}

await runAsScript(import.meta, load);
