// What the packages expect of Node 22, for Node 18 and 20.
import { webcrypto } from 'node:crypto'

Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new this((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

globalThis.crypto ??= webcrypto

globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor (type, options = {}) {
    super(type, options)
    this.detail = options.detail ?? null
  }
}

Array.prototype.toSorted ??= function (compare) { return [...this].sort(compare) }

Array.fromAsync ??= async function (from) {
  const all = []
  for await (const one of from) { all.push(one) }
  return all
}

Set.prototype.difference ??= function (other) { return new Set([...this].filter(one => !other.has(one))) }

AbortSignal.any ??= function (signals) {
  const all = new AbortController()
  for (const signal of signals) {
    if (signal.aborted) { all.abort(signal.reason) }
    signal.addEventListener('abort', () => all.abort(signal.reason), { once: true })
  }
  return all.signal
}
