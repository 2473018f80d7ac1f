// The films, cleaned, and the top ten computed here: what the server's answer is compared with.
import { readFile } from "node:fs/promises";

const FILE = new URL("node_modules/vega-datasets/data/movies.json", import.meta.url);

// The collection was made in 2011. Later years are two-digit ones put into the wrong century.
const LAST_YEAR = 2011;

export const BUCKET = "movies";
export const QUERY = "top10-since-2000";

const SINCE = 2000;
const LEAST_VOTES = 10_000;
const PLACES = 10;

export const BUCKET_CONFIG = {
  key: "id",
  schema: {
    id: { type: "number", required: true },
    title: { type: "string", required: true },
    year: { type: "number", required: true },
    rating: { type: "number", min: 0, max: 10 },
    votes: { type: "number", min: 0 },
    genre: { type: "string" },
    director: { type: "string" },
    distributor: { type: "string" },
    grossUsd: { type: "number" },
  },
};

export const QUERY_CONFIG = {
  bucket: BUCKET,
  filter: { year: { $gte: SINCE }, votes: { $gte: LEAST_VOTES } },
  // Votes and id decide between equal ratings, so that there is only one right order.
  sort: { rating: "desc", votes: "desc", id: "asc" },
  limit: PLACES,
};

/** The films as records, and a count of everything that was not taken as it stood in the file. */
export async function readMovies() {
  const entries = JSON.parse(await readFile(FILE, "utf8"));
  const notes = { inFile: entries.length, skippedWithoutTitle: 0, numericTitles: 0, centuryCorrected: 0, withoutRating: 0 };
  const films = [];
  for (const [index, entry] of entries.entries()) {
    if (entry.Title === null) {
      notes.skippedWithoutTitle++;
      continue;
    }
    if (typeof entry.Title === "number") notes.numericTitles++;
    let year = Number(entry["Release Date"].slice(-4));
    if (year > LAST_YEAR) {
      year -= 100;
      notes.centuryCorrected++;
    }
    if (entry["IMDB Rating"] === null) notes.withoutRating++;
    const film = {
      id: index + 1,
      title: String(entry.Title),
      year,
      rating: entry["IMDB Rating"],
      votes: entry["IMDB Votes"],
      genre: entry["Major Genre"],
      director: entry.Director,
      distributor: entry.Distributor,
      grossUsd: entry["Worldwide Gross"],
    };
    // What the file does not know is left out, not stored as null.
    films.push(Object.fromEntries(Object.entries(film).filter(([, value]) => value !== null)));
  }
  return { films, notes };
}

/** All films that compete, best first, computed without the server. */
export function ranking(films) {
  return films
    .filter((film) => film.year >= SINCE && (film.votes ?? -1) >= LEAST_VOTES)
    .sort((a, b) => b.rating - a.rating || b.votes - a.votes || a.id - b.id);
}

/** What the query must answer. */
export function topTen(films) {
  return ranking(films).slice(0, PLACES);
}

/** The changes `rate.mjs` makes: three films climb into the top ten, the first two fall out of it. */
export function changes(films) {
  const ranked = ranking(films);
  const climbers = ranked.slice(PLACES, PLACES + 3).map(({ id, title }, step) => ({ id, title, rating: 9.9 - step / 10 }));
  const fallers = ranked.slice(0, 2).map(({ id, title }, step) => ({ id, title, rating: 5 - step }));
  return [...climbers, ...fallers].map((change) => ({ ...change, rating: Number(change.rating.toFixed(1)) }));
}

export function applied(films, list) {
  const ratings = new Map(list.map(({ id, rating }) => [id, rating]));
  return films.map((film) => ({ ...film, rating: ratings.get(film.id) ?? film.rating }));
}

export function table(records) {
  const lines = records.map(({ title, year, rating, votes }, place) =>
    `  ${String(place + 1).padStart(2)}. ${rating.toFixed(1)}  ${title} (${year}), ${votes.toLocaleString("en")} votes`);
  return lines.join("\n");
}
