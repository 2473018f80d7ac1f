// dunlin's protocol in one small class: requests by id, pushes by subscription.
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";

export const DEFAULT_URL = "ws://127.0.0.1:8080/";

// A server that has not answered by then is stuck or gone.
const REQUEST_LIMIT_MS = 15_000;

export class Client {
  #socket;
  #nextId = 1;
  #waiting = new Map();
  #subscribers = new Map();
  // Pushes that arrived before the caller knew its subscription's id.
  #early = new Map();

  static async connect(url) {
    const client = new Client();
    client.#socket = new WebSocket(url, { handshakeTimeout: REQUEST_LIMIT_MS });
    client.#socket.on("message", (text) => client.#receive(JSON.parse(text)));
    client.closed = new Promise((resolve) => client.#socket.on("close", (code, reason) => {
      const text = `connection closed: ${code} ${reason}`.trim();
      client.#fail(new Error(text));
      resolve(text);
    }));
    await new Promise((resolve, reject) => {
      client.#socket.once("open", resolve);
      client.#socket.on("error", (error) => reject(new Error(`no connection to ${url}: ${error.message || error.code}`)));
    });
    return client;
  }

  /** Sends a request; resolves with the result's data, rejects with an error that has a `code`. */
  request(type, fields = {}) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const late = () => this.#settle(id)?.reject(new Error(`no answer to ${type} within ${REQUEST_LIMIT_MS} ms`));
      this.#waiting.set(id, { resolve, reject, timer: setTimeout(late, REQUEST_LIMIT_MS) });
      this.#socket.send(JSON.stringify({ id, type, ...fields }));
    });
  }

  /** Subscribes to a query; `show` gets its present result, then every new one. */
  async subscribe(query, show) {
    const { subscriptionId, data } = await this.request("store.subscribe", { query });
    show(data);
    this.#subscribers.set(subscriptionId, show);
    for (const later of this.#early.get(subscriptionId) ?? []) show(later);
    this.#early.delete(subscriptionId);
    return subscriptionId;
  }

  close() {
    this.#socket.close();
  }

  #receive(message) {
    if (message.type === "ping") {
      this.#socket.send(JSON.stringify({ type: "pong", timestamp: message.timestamp }));
    } else if (message.type === "push") {
      const { subscriptionId, data } = message;
      const show = this.#subscribers.get(subscriptionId);
      if (show) show(data);
      else this.#early.set(subscriptionId, [...(this.#early.get(subscriptionId) ?? []), data]);
    } else if (message.type === "result") {
      this.#settle(message.id)?.resolve(message.data);
    } else if (message.type === "error") {
      const error = Object.assign(new Error(`${message.code}: ${message.message}`), { code: message.code });
      // Id 0: the server could not read the request, so no single one can be told.
      if (message.id === 0) this.#fail(error);
      else this.#settle(message.id)?.reject(error);
    }
  }

  #settle(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }

  #fail(error) {
    for (const id of [...this.#waiting.keys()]) this.#settle(id)?.reject(error);
  }
}

/** Defines a bucket or query; false if it is there already. */
export async function define(client, type, name, config) {
  try {
    await client.request(type, { name, config });
    return true;
  } catch (error) {
    if (error.code === "ALREADY_EXISTS") return false;
    throw error;
  }
}

/** Runs `main(url)` when `module` is the script that was started; exit code 1 with a reason if it fails. */
export async function runAsScript(module, main) {
  if (!process.argv[1] || realpathSync(process.argv[1]) !== fileURLToPath(module.url)) return;
  try {
    await main(process.argv[2] ?? DEFAULT_URL);
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
