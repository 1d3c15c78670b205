/**
 * A key that is written on more sides of a split than one record has room for: its owners keep what they
 * have, say so, and everything else goes on. A write that replaces the values ends it. Here it is their
 * number that is too much; their bytes, which take a minute to move about, are the store's test.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { present } from '../../src/base/assert.ts'
import { text } from '../../src/base/bytes.ts'
import type { Client } from '../../src/client/client.ts'
import { MAX_RECORD_VALUES } from '../../src/protocol/record.ts'
import { createSimulation, type SimPeer, type Simulation } from '../../src/simulator/simulation.ts'
import { MAX_FRAME_BYTES } from '../../src/wire/frame.ts'
import { areEqual } from './three-peers.ts'

const test = suite('a key with more concurrent values than a record can hold')

const SIDES = 11
/** As many as one side can leave beside each other. */
const SIBLINGS = 100
const KEYSPACE = 'everywhere'
const options = { keyspace: KEYSPACE, timeoutMs: 30_000 }

interface Split {
  readonly simulation: Simulation
  /** Of a client that talks to this peer alone. */
  readonly clients: readonly Client[]
  readonly logged: string[]
  /** Bytes that each comparison of two owners moved, under the name of the two. */
  readonly exchanges: { readonly pair: string; readonly bytes: number }[]
  largestFrame(): number
}

/** Peers that own everything, after each was alone and took as many siblings of one key as it can. */
async function healed(seed: string): Promise<Split> {
  const logged: string[] = []
  const exchanges: Split['exchanges'] = []
  let largestFrame = 0
  const simulation = createSimulation({
    ...{ seed, peers: SIDES, partitionCount: 16, formed: true },
    log({ event, fields, host }) {
      logged.push(event)
      if (event !== 'repair.ended') return
      exchanges.push({ pair: `${host} ${fields.peer}`, bytes: Number(fields.bytes) })
    },
    frame: ({ frame }) => {
      largestFrame = Math.max(largestFrame, frame.length)
    },
  })
  await simulation.start()
  const clients = simulation.peers.map(({ address }) => simulation.client({ peers: [address], pinned: true }))
  const [first] = clients as [Client, ...Client[]]
  await simulation.settle(first.service.createKeyspace(KEYSPACE, { strategy: 'full' }))
  const { context } = await simulation.settle(first.put('crowded', 'before', { ...options, w: 'all' }))
  const heal = simulation.partition(simulation.peers.map((peer) => [peer]))
  const writes = clients.flatMap((client, i) => [
    ...Array.from({ length: SIBLINGS }, () => client.put('crowded', `${i}`, { ...options, context, w: 1 })),
    client.put(`small ${i}`, 'there', { ...options, blind: true, w: 1 }),
  ])
  await simulation.settle(Promise.all(writes))
  await simulation.run(20_000)
  logged.length = 0
  heal()
  await simulation.run(60_000)
  return { simulation, clients, logged, exchanges, largestFrame: () => largestFrame }
}

async function failure(simulation: Simulation, promise: Promise<unknown>): Promise<string> {
  return simulation.settle(
    promise.then(
      () => 'none',
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    ),
  )
}

async function warningsOf(simulation: Simulation, peer: SimPeer): Promise<string> {
  const { warnings } = await simulation.settle(present(peer.node, 'it runs').service.status())
  return warnings.join('\n')
}

test('nothing is cut, other keys go on, and a write without a context brings owners together', async () => {
  const { simulation, clients, logged, exchanges, largestFrame } = await healed('overfull')
  const [client, another] = clients as [Client, Client, ...Client[]]
  assert.ok(largestFrame() <= MAX_FRAME_BYTES)
  assert.not(logged.includes('link.unsendable'))
  assert.ok(logged.includes('key.overfull'))

  const dots = new Set<string>()
  for (const each of clients) {
    const found = await simulation.settle(each.get('crowded', { ...options, r: 1 }))
    const { length } = found.values
    assert.ok(
      length > MAX_RECORD_VALUES - SIBLINGS && length <= MAX_RECORD_VALUES,
      'as many as there is room for',
    )
    dots.add(present(found.context, 'it was written'))
    for (let i = 0; i < SIDES; i++) {
      assert.is((await simulation.settle(each.get(`small ${i}`, { ...options, r: 1 }))).text(), 'there')
    }
  }
  assert.ok(dots.size > 1, 'together they are more than one record holds')
  assert.match(await failure(simulation, client.get('crowded', options)), /^CONFLICT: .*without a context/)
  const [peer] = simulation.peers as [SimPeer, ...SimPeer[]]
  assert.match(await warningsOf(simulation, peer), /1 keys with more concurrent values/)

  logged.length = 0
  exchanges.length = 0
  await simulation.run(600_000)
  // Copies do not change any more; two that met before they were whole try these once.
  const tries = exchanges.filter(({ bytes }) => bytes >= SIBLINGS * 100).map(({ pair }) => pair)
  assert.ok(exchanges.length > SIDES + tries.length)
  assert.is(new Set(tries).size, tries.length, 'owners do not send each other the same in vain')
  assert.ok(tries.length < SIDES)
  assert.not(logged.some((event) => /suspect|dead|peer\.down/.test(event)))

  await simulation.settle(another.put('crowded', 'after', options))
  assert.ok(await simulation.until(() => areEqual(simulation), 600_000))
  const { values } = await simulation.settle(client.get('crowded', { ...options, r: 'all' }))
  assert.equal(
    values.map(({ value }) => text(value)),
    ['after'],
  )
  await simulation.stop()
})

test('a change of the ring that such a key holds up says so, and goes on after such a write', async () => {
  const { simulation, clients } = await healed('overfull while the ring changes')
  const [first, , last] = simulation.peers as [SimPeer, SimPeer, SimPeer]
  const { service } = present(first.node, 'it runs')
  await simulation.settle(service.leave(last.address))
  await simulation.run(60_000)
  const told = await warningsOf(simulation, first)
  assert.match(told, /cannot take over .*everywhere\/\d+.* do not fit into one record: put or delete those/)
  assert.not.match(told, /empty data directory|kvctl remove/)
  await simulation.settle((clients[0] as Client).put('crowded', 'after', options))
  const isDone = (): boolean => {
    const configuration = first.node?.configuration
    return configuration?.phase === 'stable' && configuration.members.length === SIDES - 1
  }
  assert.ok(await simulation.until(isDone, 600_000))
  await simulation.stop()
})

test.run()
