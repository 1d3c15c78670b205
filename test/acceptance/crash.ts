/**
 * What a crash and a lost disk cost: nothing that was acknowledged.
 *
 * First all peers are killed at once under load, again and again: whatever was acknowledged is there after
 * the restart. Then one peer of three that hold 100,000 keys is killed, writes go on, and it is started again
 * with an empty directory: meanwhile no read misses a key or goes back to an older value, and soon all three
 * hold the same.
 *
 * Usage: npm run accept:crash -- [--rounds 10] [--keys 100000]
 */
import { rmSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { text } from '../../src/base/bytes.ts'
import { type Client, connect } from '../../src/index.ts'
import { differing, ReplicaReader } from '../partition/replicas.ts'
import { endAll, type PeerProcess, startCluster, until } from '../processes/peers.ts'
import { milliseconds, Verdict } from './verdict.ts'

const WRITERS = 64
const LOAD_MS = 1500
/** Keys that are written again and again, beside those that are written once. */
const HOT_KEYS = 32
const EQUAL_WITHIN_MS = 30_000
const GIVE_UP_MS = 120_000
const READERS = 16
const VALUE_BYTES = 100

/** By key, the number of the newest write that was acknowledged. */
type Acknowledged = Map<string, number>

const { values: words } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, keys: { type: 'string', default: '100000' } },
})
const [rounds, keyCount] = [Number(words.rounds), Number(words.keys)]
const verdict = new Verdict(`${rounds} crashes of all peers, and a wiped peer at ${keyCount} keys`)

await killAllAtOnce()
await wipeOne()
await verdict.print()

async function killAllAtOnce(): Promise<void> {
  const peers = await startCluster(3)
  const acknowledged: Acknowledged = new Map()
  let missing = 0
  for (let round = 1; round <= rounds; round++) {
    const before = acknowledged.size
    await loadUntilKilled(peers, acknowledged, round)
    await Promise.all(peers.map((peer) => peer.end('SIGKILL')))
    await Promise.all(peers.map((peer) => peer.start()))
    const lost = await countLost(peers, acknowledged)
    missing += lost
    verdict.progress(`crash ${round}: ${acknowledged.size - before} more keys acknowledged, ${lost} lost`)
  }
  verdict.note('acknowledged keys, each read after every crash', acknowledged.size)
  verdict.check('acknowledged writes that are missing or older', missing, '0', missing === 0)
  await endAll(peers)
}

/** All peers are killed in the middle of it. */
async function loadUntilKilled(
  peers: readonly PeerProcess[],
  acknowledged: Acknowledged,
  round: number,
): Promise<void> {
  const client = await connect(addressesOf(peers), { timeoutMs: 1000 })
  let isOver = false
  const write = async (writer: number): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      const isHot = writer < HOT_KEYS && i % 2 === 0
      const key = isHot ? `hot-${writer}` : `${round}-${writer}-${i}`
      const version = round * 1_000_000 + i
      // What is not acknowledged may be there or not.
      const isKnown = await client.put(key, contentOf(version)).then(
        () => true,
        () => false,
      )
      if (isKnown) acknowledged.set(key, version)
    }
  }
  const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer))
  await new Promise((resolve) => setTimeout(resolve, LOAD_MS))
  for (const peer of peers) peer.signal('SIGKILL')
  isOver = true
  await Promise.all(writers)
  client.close()
}

async function countLost(peers: readonly PeerProcess[], acknowledged: Acknowledged): Promise<number> {
  const client = await connect(addressesOf(peers), { timeoutMs: 10_000 })
  let lost = 0
  await each([...acknowledged], WRITERS, async ([key, version]) => {
    if ((await newestVersion(client, key)) < version) lost++
  })
  client.close()
  return lost
}

async function wipeOne(): Promise<void> {
  const peers = await startCluster(3)
  const [first, , victim] = peers as [PeerProcess, PeerProcess, PeerProcess]
  const others = peers.filter((peer) => peer !== victim)
  const keys = Array.from({ length: keyCount }, (_, i) => `key-${i}`)
  const acknowledged: Acknowledged = new Map()
  const writer = await connect(addressesOf(others), { timeoutMs: 10_000 })
  const write = async (key: string, version: number): Promise<void> => {
    await writer.put(key, contentOf(version), { w: 2 })
    acknowledged.set(key, version)
  }
  await each(keys, 4 * WRITERS, (key) => write(key, 1))
  verdict.progress(`${keyCount} keys written`)
  await victim.end('SIGKILL')
  await each(keys.slice(0, keyCount / 50), WRITERS, (key) => write(key, 2))
  rmSync(victim.dataDir, { recursive: true, force: true })
  const wipedAtMs = performance.now()
  await victim.start()
  const readyAtMs = performance.now()
  verdict.note('from its start to its place in the cluster', milliseconds(readyAtMs - wipedAtMs))
  const stopReading = readOnAndOn(peers, keys, acknowledged)
  const isComplete = (status: {
    readonly peers: readonly { readonly catchingUp: string | null }[]
  }): boolean => status.peers.every(({ catchingUp }) => catchingUp === null)
  await until([first], (status) => isComplete(status) && haveAll(status.peers), GIVE_UP_MS)
  const tookMs = performance.now() - readyAtMs
  const found = await stopReading()
  verdict.check(
    'from its return until it lacks nothing',
    milliseconds(tookMs),
    `under ${EQUAL_WITHIN_MS} ms`,
    tookMs < EQUAL_WITHIN_MS,
  )
  verdict.note('reads meanwhile, at quorum, through each peer', found.reads)
  verdict.check('of them, missed a key or went back', found.wrong, '0', found.wrong === 0)
  verdict.check('of them, failed', found.failed, '0', found.failed === 0)
  await compareReplicas(peers, keys)
  writer.close()
  await endAll(peers)
}

function haveAll(rows: readonly { readonly keys: number | null }[]): boolean {
  return rows.every(({ keys }) => keys === keyCount)
}

interface Reads {
  reads: number
  wrong: number
  failed: number
}

function readOnAndOn(
  peers: readonly PeerProcess[],
  keys: readonly string[],
  acknowledged: Acknowledged,
): () => Promise<Reads> {
  const found: Reads = { reads: 0, wrong: 0, failed: 0 }
  let isOver = false
  const read = async (reader: number): Promise<void> => {
    const client = await connect((peers[reader % peers.length] as PeerProcess).address, { pinned: true })
    for (let i = reader; !isOver; i += 7919) {
      const key = keys[i % keys.length] as string
      try {
        if ((await newestVersion(client, key)) < (acknowledged.get(key) ?? 0)) found.wrong++
        found.reads++
      } catch (error) {
        if (found.failed++ === 0) verdict.remark(`the first read that failed: ${String(error)}`)
      }
    }
    client.close()
  }
  const readers = Array.from({ length: READERS }, (_, reader) => read(reader))
  return async () => {
    isOver = true
    await Promise.all(readers)
    return found
  }
}

async function compareReplicas(peers: readonly PeerProcess[], keys: readonly string[]): Promise<void> {
  const reader = await ReplicaReader.connect(peers)
  let unequal = 0
  for (let i = 0; i < keys.length; i += 5000)
    unequal += differing(await reader.read(keys.slice(i, i + 5000))).length
  reader.close()
  verdict.check('keys whose replicas are not all equal', unequal, '0', unequal === 0)
}

/** 0: there is none. */
async function newestVersion(client: Client, key: string): Promise<number> {
  const { values } = await client.get(key, { r: 'quorum' })
  return values.reduce((newest, { value }) => Math.max(newest, Number.parseInt(text(value), 10)), 0)
}

function contentOf(version: number): string {
  return `${version}`.padEnd(VALUE_BYTES, ' .')
}

function addressesOf(peers: readonly PeerProcess[]): string[] {
  return peers.map(({ address }) => address)
}

async function each<T>(items: readonly T[], atOnce: number, act: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) await act(items[next++] as T)
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
}
