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
  connectionMonitor: { enabled: false }, // it pings too, and there is one stream for that
  services: {
    identify: identify(),
    ping: ping(),
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
const connection = await here.dial(multiaddr(address), { signal })
const { protocols, agentVersion } = await identified
const milliseconds = await here.services.ping.ping(connection.remotePeer, { signal })

// It may be asked before anybody has put it there.
let value
while (value === undefined) {
  try {
    for await (const event of here.services.dht.get(new TextEncoder().encode(key), { signal })) {
      if (event.name === 'VALUE') {
        value = Buffer.from(event.value).toString('base64')
        break
      }
    }
  } catch (err) {
    if (signal.aborted) { throw err }
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
