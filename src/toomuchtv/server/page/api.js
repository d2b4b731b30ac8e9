// Requests to the server. A request that a newer one of the same purpose supersedes is aborted.

import { sentence } from "./dom.js";

const running = new Map();

/** An error whose message is one sentence for people. */
class ApiError extends Error {
  constructor(message, status) {
    super(sentence(message));
    this.status = status;
  }
}

export const wasAborted = (error) => error.name === "AbortError";

/** Abort the running request of this purpose, and return the signal of the next one. */
export function supersede(purpose) {
  running.get(purpose)?.abort();
  const controller = new AbortController();
  running.set(purpose, controller);
  return controller.signal;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (wasAborted(error)) throw error;
    throw new ApiError("The server does not answer. Is `toomuchtv serve` still running?", 0);
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(
    problem.detail ?? `The server answered with the status ${response.status}.`, response.status,
  );
}

export async function getJson(path, signal) {
  return (await request(path, { signal })).json();
}

/** Every request that costs or changes something carries a header that other sites cannot send. */
export function post(path, body, signal) {
  return request(path, {
    method: "POST",
    headers: { "X-Toomuchtv": "1", "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

export async function upload(file, signal) {
  const response = await request(`/api/uploads?name=${encodeURIComponent(file.name)}`, {
    method: "POST",
    headers: { "X-Toomuchtv": "1", "Content-Type": "application/octet-stream" },
    body: file,
    signal,
  });
  return response.json();
}

export async function getBytes(path, signal) {
  return (await request(path, { signal })).arrayBuffer();
}
