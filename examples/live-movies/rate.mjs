// Changes five ratings, one after another: node rate.mjs [URL]
import { setTimeout as sleep } from "node:timers/promises";
import { BUCKET, changes, readMovies } from "./movies.mjs";
import { Client, runAsScript } from "./wire.mjs";

// Slow enough to follow in the watcher's window.
const PAUSE_MS = 300;

export async function rate(url, list) {
  const client = await Client.connect(url);
  for (const { id, title, rating } of list) {
    const film = await client.request("store.update", { bucket: BUCKET, key: id, data: { rating } });
    console.log(`rated ${title}: ${film.rating.toFixed(1)}`);
    await sleep(PAUSE_MS);
  }
  client.close();
}

await runAsScript(import.meta, async (url) => rate(url, changes((await readMovies()).films)));
