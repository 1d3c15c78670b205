/**
 * Two replicas of many keys on real disks, compared and repaired: how long it takes and how many bytes
 * cross between them, as frames but without sockets. Also how long their hash trees take to be built.
 * `node --import tsx test/benchmark/repair.ts [--keys 1000000] [--differing 1000]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Bytes, utf8 } from '../../src/base/bytes.ts'
import { type ActorId, type KeyspaceId, makeAddress, type NodeId, parseNodeId } from '../../src/base/ids.ts'
import type { Links } from '../../src/cluster/links.ts'
import { Pauses } from '../../src/cluster/pauses.ts'
import type { PeerLink } from '../../src/cluster/peer-link.ts'
import { Rpc } from '../../src/cluster/rpc.ts'
import type { Coordination } from '../../src/coordinator/coordination.ts'
import { LingerLimit } from '../../src/coordinator/linger-limit.ts'
import { Pace } from '../../src/coordinator/pace.ts'
import { Replica } from '../../src/coordinator/replica.ts'
import { RequestBudget } from '../../src/coordinator/request-budget.ts'
import { TreeExchange } from '../../src/coordinator/tree-exchange.ts'
import { TreeReplica } from '../../src/coordinator/tree-replica.ts'
import { openLevelStorage } from '../../src/platform/level-storage.ts'
import { createSystemMetrics } from '../../src/platform/metrics.ts'
import { createSystemClock } from '../../src/platform/system-clock.ts'
import { createSystemRandom } from '../../src/platform/system-random.ts'
import type { Keyspace } from '../../src/protocol/configuration.ts'
import { makeLayout } from '../../src/protocol/layout.ts'
import { createRing } from '../../src/protocol/ring.ts'
import { recordKey } from '../../src/store/keys.ts'
import { encodeRecord } from '../../src/store/record-codec.ts'
import { Store } from '../../src/store/store.ts'
import { packFrame } from '../../src/wire/frame.ts'
import { type PeerMessage, type PeerReply, peerCodec } from '../../src/wire/peer-messages.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'

const { values: options } = parseArgs({
  options: { keys: { type: 'string', default: '1000000' }, differing: { type: 'string', default: '1000' } },
})
const KEYS = Number(options.keys)
const DIFFERING = Number(options.differing)
const PARTITIONS = 512
const ACTOR = 'aaaaaaaaaaaaaaaa' as ActorId
const KEYSPACE: Keyspace = { id: 1 as KeyspaceId, name: 'default', ...DEFAULT_KEYSPACE_OPTIONS, replicas: 2 }
const NAMES = ['a', 'b'].map(parseNodeId) as [NodeId, NodeId]
const BATCH = 2000

const clock = createSystemClock()
const ignore = (): void => undefined
const log = { debug: ignore, info: ignore, warn: ignore, error: ignore }
const ring = createRing({
  clusterId: 'benchmark' as never,
  number: 1,
  partitionCount: PARTITIONS,
  phase: 'stable',
  members: NAMES.map((nodeId) => ({ nodeId, zone: '', weight: 100 })),
  excluded: [],
  removed: [],
  acceptors: [{ nodeId: NAMES[0], acceptorId: 'votes' }],
  keyspaces: [KEYSPACE],
  nextKeyspaceId: 2 as KeyspaceId,
  layouts: [
    makeLayout(
      NAMES,
      2,
      Uint16Array.from({ length: 2 * PARTITIONS }, (_, i) => i % 2),
    ),
  ],
  reason: '',
  decidedAtMs: 0,
})

interface Side {
  readonly coordination: Coordination
  readonly rpc: Rpc
  readonly replica: Replica
  readonly treeReplica: TreeReplica
  close(): Promise<void>
}

let bytes = 0

function keyOf(i: number): Bytes {
  return utf8(`user:${String(i).padStart(8, '0')}`)
}

function recordOf(key: Bytes, n: number): Bytes {
  const value = new Uint8Array(100).fill(n)
  const dot = { actor: ACTOR, n }
  const fields = {
    contentType: null,
    writeId: 'V1StGXR8_Z5jdHi6B-myT',
    timestamp: 1.8e15 + n,
    expiresAtMs: null,
  }
  return encodeRecord(key, {
    seen: { vector: new Map([[ACTOR, n]]), loose: [] },
    values: [{ dot, value, ...fields }],
  })
}

/** @param isBehind of every key that differs */
async function fill(directory: string, isBehind: (i: number) => boolean): Promise<void> {
  const storage = await openLevelStorage(directory)
  const database = await storage.openDatabase()
  for (let i = 0; i < KEYS; ) {
    const batch = database.batch()
    for (const end = Math.min(KEYS, i + BATCH); i < end; i++) {
      const key = keyOf(i)
      const n = isBehind(i) ? i + 1 : KEYS + i + 1
      batch.put(recordKey(KEYSPACE.id, ring.partitionOf(key), key), recordOf(key, n))
    }
    await batch.write()
  }
  await database.close()
  await storage.close()
}

async function open(directory: string, selfId: NodeId, other: () => Side): Promise<Side> {
  const storage = await openLevelStorage(directory)
  const effects = { clock, log, storage, random: createSystemRandom(), metrics: createSystemMetrics() }
  const startMs = clock.monotonic()
  const store = await Store.open(effects)
  while (store.hashTrees === null) await new Promise((resolve) => setTimeout(resolve, 20))
  say(`trees of ${store.inventory.counts.total.records} records built`, startMs)
  const links: Pick<Links, 'to' | 'ask'> = {
    to: () => ({}) as PeerLink,
    ask: (_, message) => {
      const sent = transported(message)
      setImmediate(() => serve(other(), selfId, sent, rpc))
      return true
    },
  }
  const rpc = new Rpc(links as Links, clock, () => makeAddress('127.0.0.1', 1))
  const coordination: Coordination = {
    ...{ selfId, clock, log, rpc, store, hedges: new RequestBudget(0.05), lingers: new LingerLimit() },
    clusterSeed: () => 0,
    hasRing: () => true,
    ring: () => ring,
    isAlive: () => true,
    sawNumber: ignore,
  }
  const replica = new Replica(coordination)
  const close = async (): Promise<void> => {
    rpc.stop()
    await store.close()
    await storage.close()
  }
  return { coordination, rpc, replica, treeReplica: new TreeReplica(coordination), close }
}

function serve(
  { replica, treeReplica, coordination }: Side,
  from: NodeId,
  message: PeerMessage,
  asker: Rpc,
): void {
  const { selfId } = coordination
  const send = (answer: PeerMessage): void => {
    const sent = transported(answer)
    setImmediate(() => asker.answered(selfId, sent as PeerReply))
  }
  const link = { send } as unknown as PeerLink
  if (message.type === 'read') replica.read(from, message, link)
  else if (message.type === 'replicate') replica.replicate(from, message, link)
  else treeReplica.serve(from, message as Parameters<TreeReplica['serve']>[1], link)
}

function transported(message: PeerMessage): PeerMessage {
  const encoded = peerCodec.encode(message)
  bytes += packFrame([encoded]).length
  return peerCodec.decode(structuredClone(encoded))
}

async function exchange(what: string, { coordination }: Side): Promise<void> {
  bytes = 0
  const startMs = clock.monotonic()
  const progress = { partitions: 0, compared: 0, differing: 0, repaired: 0, failed: 0, bytes: 0 }
  const run = new TreeExchange(coordination, new Pace(clock), new Pauses(clock), NAMES[1], progress)
  await run.run([KEYSPACE])
  const { differing, repaired } = progress
  say(`${what}: ${differing} differed, ${repaired} repaired, ${(bytes / 1024).toFixed(0)} KiB moved`, startMs)
}

function say(what: string, startMs: number): void {
  process.stdout.write(`${what} in ${((clock.monotonic() - startMs) / 1000).toFixed(2)} s\n`)
}

const directory = mkdtempSync(join(tmpdir(), 'kvnode-benchmark-repair-'))
try {
  const stride = Math.floor(KEYS / DIFFERING)
  const paths = [join(directory, 'a'), join(directory, 'b')] as const
  const startMs = clock.monotonic()
  // Of those that differ each is the older one here or there.
  await fill(paths[0], (i) => i % (2 * stride) === 0)
  await fill(paths[1], (i) => i % (2 * stride) === stride)
  say(`two disks with ${KEYS} keys filled`, startMs)
  const sides: Side[] = []
  const b = await open(paths[1], NAMES[1], () => sides[0] as Side)
  const a = await open(paths[0], NAMES[0], () => b)
  sides.push(a)
  await exchange('first exchange', a)
  await exchange('exchange of equals', a)
  await a.close()
  await b.close()
} finally {
  rmSync(directory, { recursive: true, force: true })
}
