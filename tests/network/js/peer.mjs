// A peer of another implementation: it dials a node by TCP and Noise, identifies
// it, pings it, and gets a record from the DHT, and says so as one JSON line.
//
//   node --import ./polyfill.mjs peer.mjs ADDRESS KEY

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [address, key] = process.argv.slice(2)
const patience = 30_000
const signal = AbortSignal.timeout(patience)

const here = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionMonitor: { enabled: false },
  services: {
    identify: identify(),
    ping: ping({ maxOutboundStreams: 2 }), // the DHT pings whom it takes into its table
    dht: kadDHT({
      protocol: '/phase/kad/1.0.0',
      clientMode: true,
      peerInfoMapper: passthroughMapper,
      validators: { phase: async () => {} }, // the test verifies what comes
      selectors: { phase: () => 0 }
    })
  }
})

const identified = new Promise(resolve => here.addEventListener('peer:identify', e => resolve(e.detail), { once: true }))
console.error('dialling')
const connection = await here.dial(multiaddr(address), { signal })
console.error('waiting for its identity')
const { protocols, agentVersion } = await identified
console.error('pinging')
const milliseconds = await here.services.ping.ping(connection.remotePeer, { signal })

console.error('searching')

// It may be asked before anybody has put it there, and before the library has
// taken the node into its routing table, for which it would wait without end.
let value
while (value === undefined) {
  const once = AbortSignal.any([signal, AbortSignal.timeout(2_000)])
  try {
    for await (const event of here.services.dht.get(new TextEncoder().encode(key), { signal: once })) {
      if (event.name === 'VALUE') {
        value = Buffer.from(event.value).toString('base64')
        break
      }
    }
  } catch (err) {
    if (signal.aborted) { throw new Error(`no record in ${patience} ms`, { cause: err }) }
  }
  if (value === undefined) { await new Promise(resolve => setTimeout(resolve, 200)) }
}

console.log(JSON.stringify({
  peer: connection.remotePeer.toString(),
  encryption: connection.encryption,
  multiplexer: connection.multiplexer,
  agent: agentVersion,
  protocols,
  milliseconds,
  value
}))
await here.stop()
process.exit(0)
