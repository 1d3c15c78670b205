/**
 * 100,000 mangled messages at three real peers, half of them damaged copies of what their cluster really
 * said, in the handshake and after it, at all three paths: none does more than end its connection.
 *
 * For the recording a fourth member runs in this process for a while, and a client; whatever goes over their
 * links is kept.
 *
 * Usage: npm run accept:mangled -- [--messages 100000] [--seed S]
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Bytes, text, utf8 } from '../../src/base/bytes.ts'
import { type Address, parseAddress, parseClusterId } from '../../src/base/ids.ts'
import { createPrng } from '../../src/base/prng.ts'
import { type Client, createClient } from '../../src/client/client.ts'
import { connect } from '../../src/index.ts'
import { createNode, type Node } from '../../src/node/node.ts'
import { DEFAULT_NODE_OPTIONS } from '../../src/node/node-options.ts'
import { openLevelStorage } from '../../src/platform/level-storage.ts'
import { createLog } from '../../src/platform/log.ts'
import { createSystemMetrics } from '../../src/platform/metrics.ts'
import { createSystemClock } from '../../src/platform/system-clock.ts'
import { createSystemRandom } from '../../src/platform/system-random.ts'
import { createSystemNetwork } from '../../src/platform/ws-network.ts'
import { KIND, keyspaceOf, kindRange, userKey } from '../../src/store/keys.ts'
import { decodeRecord } from '../../src/store/record-codec.ts'
import { MAX_FRAME_BYTES } from '../../src/wire/frame.ts'
import { DEFAULT_KEYSPACE_OPTIONS } from '../../src/wire/requests.ts'
import {
  countOf,
  endAll,
  type PeerProcess,
  scratchDirectory,
  startCluster,
  until,
} from '../processes/peers.ts'
import { Attacker } from '../wire/attacker.ts'
import { Recording, recordNetwork } from '../wire/recording.ts'
import { strikeRaw } from './raw-attack.ts'
import { percent, Verdict } from './verdict.ts'

const PEERS = 3
const KEYS = 500
const RAW_SHARE = 0.1
const AT_ONCE = 48
/** For both probing in vain and calling a silent peer dead. */
const FREEZE_MS = 5_000
const SAMPLE_EVERY_MS = 2_000
const SERVE_EVERY_MS = 20
const MEMORY_GROWTH_BOUND_MIB = 256
const STACK = /"stack"|\n {4}at |Error: /

const { values: words } = parseArgs({
  options: {
    messages: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now()) },
  },
})
const messages = Number(words.messages)
const prng = createPrng(words.seed)
const verdict = new Verdict(`${messages} mangled messages at ${PEERS} peers, seed ${words.seed}`)
const peers = await startCluster(PEERS)
const targets = peers.map(({ address }) => parseAddress(address))
const recording = new Recording()
const network = createSystemNetwork({ maxFrameBytes: MAX_FRAME_BYTES })
const effects = { clock: createSystemClock(), network, random: createSystemRandom() }

const values = await record()
const client = await connect(targets)
const clusterId = parseClusterId((await client.service.status()).clusterId)
const before = peers.map(({ pid }) => memoryMib(pid))
const attacker = new Attacker(effects, recording, prng, clusterId)
const { peakMib, failures, served, rawCount } = await attack()
await sleep(FREEZE_MS)
reportAttack()
await checkPeers()
await checkContent()
client.close()
await checkStores()
await verdict.print()
await endAll(peers)

/** Everything a cluster says: requests of all kinds, a member that joins, is suspected, dies, comes back. */
async function record(): Promise<ReadonlyMap<string, string>> {
  const recorded = { ...effects, network: recordNetwork(network, recording) }
  const storage = await openLevelStorage(join(scratchDirectory(), 'recorder'))
  const metrics = createSystemMetrics()
  const log = await createLog({ level: 'silent' })
  const listen = parseAddress('127.0.0.1:0')
  const node = createNode(
    { ...DEFAULT_NODE_OPTIONS, listen, join: targets },
    { ...recorded, storage, log, metrics },
  )
  await node.start()
  await until(peers, (status) => status.layout.phase === 'stable' && countOf(status, 'UN') === PEERS + 1)
  const written = await work(node, createClient({ peers: targets }, recorded))
  const frozen = peers[2] as PeerProcess
  frozen.signal('SIGSTOP')
  await sleep(FREEZE_MS)
  frozen.signal('SIGCONT')
  await until(peers, (status) => countOf(status, 'UN') === PEERS + 1)
  recording.finish()
  await node.stop()
  await storage.close()
  const kinds = [recording.kinds('peer').length, recording.kinds('client').length]
  verdict.progress(`recorded ${kinds[0]} kinds of messages between peers and ${kinds[1]} of clients`)
  return written
}

/** Writes what must be there afterwards, and asks everything once. */
async function work(node: Node, kv: Client): Promise<ReadonlyMap<string, string>> {
  const { service } = kv
  const written = new Map<string, string>()
  for (let i = 0; i < KEYS; i++) {
    const [key, value] = [`key ${i}`, `value ${i}`]
    written.set(key, value)
    await kv.put(key, value, { contentType: 'text/plain' })
    await kv.get(key)
  }
  const { context } = await kv.put('siblings', 'base')
  for (const value of ['a', 'b']) await kv.put('siblings', value, { context })
  await kv.delete('gone')
  await service.createKeyspace('spare', { ...DEFAULT_KEYSPACE_OPTIONS, conflicts: 'lww' })
  await kv.put('key', 'value', { keyspace: 'spare', blind: true, w: 'all' })
  await service.dropKeyspace('spare')
  await service.status()
  await service.ring()
  await service.locate('default', utf8('key 1'))
  const pinned = createClient(
    { peers: [node.address], pinned: true },
    { ...effects, network: recordNetwork(network, recording) },
  )
  for (let i = 0; i < KEYS; i++) await pinned.put(`key ${i}`, `value ${i}`, { contentType: 'text/plain' })
  pinned.close()
  kv.close()
  return written
}

async function attack(): Promise<{
  peakMib: number[]
  failures: string[]
  served: number
  rawCount: number
}> {
  const peak = [...before]
  const failed: string[] = []
  let [servedCount, raw, isOver, shownAt] = [0, 0, false, 0]
  const sample = setInterval(() => {
    for (const [i, { pid }] of peers.entries()) peak[i] = Math.max(peak[i] ?? 0, memoryMib(pid))
  }, SAMPLE_EVERY_MS)
  const serve = async (): Promise<void> => {
    for (; !isOver; await sleep(SERVE_EVERY_MS)) {
      const key = `during ${servedCount % 100}`
      try {
        await client.put(key, String(servedCount))
        if ((await client.get(key)).text() !== String(servedCount)) failed.push(`${key} is another value`)
        servedCount++
      } catch (error) {
        failed.push(error instanceof Error ? error.message : String(error))
      }
    }
  }
  const serving = serve()
  const lane = async (): Promise<void> => {
    while (attacker.counts.frames + raw < messages) {
      const target = targets[prng.int(PEERS)] as Address
      if (raw < RAW_SHARE * (attacker.counts.frames + raw)) {
        raw++
        await strikeRaw(target, recording, prng)
      } else await attacker.strike(target)
      if (attacker.counts.frames + raw - shownAt >= 10_000) {
        shownAt = attacker.counts.frames + raw
        verdict.progress(`${shownAt} messages, ${failed.length} failed requests of ${servedCount}`)
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  isOver = true
  await serving
  clearInterval(sample)
  return { peakMib: peak, failures: failed, served: servedCount, rawCount: raw }
}

function reportAttack(): void {
  const { frames, mutated, links, closed, unanswered, byPlace } = attacker.counts
  const halves = `${percent(mutated / frames)} of ${frames} messages`
  verdict.check('damaged copies of recorded messages', halves, '>= 50 %', 2 * mutated >= frames)
  for (const [purpose, { inHandshake, after }] of Object.entries(byPlace))
    verdict.note(`… ${purpose}: in the handshake, after it`, `${inHandshake}, ${after}`)
  verdict.note('… damaged WebSocket handshakes and frames', rawCount)
  const ended = `${closed} of ${links}`
  verdict.check('connections that were ended by the peer', ended, '>= 99 %', closed >= 0.99 * links)
  verdict.check('connections that nobody answered', unanswered, 'none', unanswered === 0)
  verdict.check(
    `requests meanwhile that failed, of ${served}`,
    failures.length,
    'none',
    failures.length === 0,
  )
  for (const failure of failures.slice(0, 5)) verdict.remark(failure)
}

async function checkPeers(): Promise<void> {
  const running = peers.filter(({ isRunning }) => isRunning)
  verdict.check('peers still running', running.length, String(PEERS), running.length === PEERS)
  const views = await Promise.all(
    running.map(async ({ address }) => {
      const pinned = await connect(address, { pinned: true })
      const status = await pinned.service.status()
      pinned.close()
      return status
    }),
  )
  const seen = views.map((status) =>
    status.peers.filter(({ address }) => targets.includes(address as Address)),
  )
  const upCount = seen.flat().filter(({ state }) => state === 'UN').length
  verdict.check('of each other, up', upCount, String(PEERS * PEERS), upCount === PEERS * PEERS)
  verdict.note('… entries in status, strangers included', Math.max(...views.map((view) => view.peers.length)))
  const numbers = new Set(views.map(({ layout }) => `${layout.version} ${layout.phase}`))
  verdict.check('configuration', [...numbers].join(' / '), 'one, stable', numbers.size === 1)
  for (const [i, peer] of peers.entries()) {
    const growth = (peakMib[i] ?? 0) - (before[i] ?? 0)
    const measured = `${before[i]} to ${peakMib[i]} MiB, now ${memoryMib(peer.pid)}`
    verdict.check(
      `memory of ${peer.address}`,
      measured,
      `+${MEMORY_GROWTH_BOUND_MIB} MiB`,
      growth <= MEMORY_GROWTH_BOUND_MIB,
    )
  }
  const logs = peers.map(({ log }) => log)
  const traces = logs.filter((log) => STACK.test(log)).length
  verdict.check('logs with a stack trace', traces, 'none', traces === 0)
  const errors = logs
    .join('')
    .split('\n')
    .filter((line) => line.includes('"level":"error"'))
  verdict.check('logged errors', errors.length, 'none', errors.length === 0)
  verdict.note('… lines logged', logs.join('').split('\n').length)
  for (const line of errors.slice(0, 5)) verdict.remark(line)
}

async function checkContent(): Promise<void> {
  for (const { address } of peers) {
    const pinned = await connect(address, { pinned: true })
    let right = 0
    for (const [key, value] of values) {
      const found = await pinned.get(key)
      const [only] = found.values
      if (found.siblings === 0 && found.text() === value && only?.contentType === 'text/plain') right++
    }
    const siblings = (await pinned.get('siblings')).values.map(({ value }) => text(value)).sort()
    if (siblings.join() !== 'a,b') verdict.remark(`siblings through ${address}: ${siblings.join()}`)
    verdict.check(`keys as they were, through ${address}`, right, String(values.size), right === values.size)
    pinned.close()
  }
}

/** On the disks: nothing but records that can be read, of keys that were written. */
async function checkStores(): Promise<void> {
  const codes = await Promise.all(peers.map((peer) => peer.end('SIGTERM')))
  verdict.check(
    'exit codes after SIGTERM',
    codes.join(' '),
    '0 0 0',
    codes.every((code) => code === 0),
  )
  const known = new Set([
    ...values.keys(),
    'siblings',
    'gone',
    ...Array.from({ length: 100 }, (_, i) => `during ${i}`),
  ])
  let [records, unreadable] = [0, 0]
  const foreign: string[] = []
  for (const { dataDir } of peers) {
    const storage = await openLevelStorage(dataDir)
    const database = await storage.openDatabase()
    for await (const [databaseKey, record] of database.iterator(kindRange(KIND.record))) {
      const key = userKey(databaseKey)
      records++
      if (!isReadable(key, record)) unreadable++
      if (keyspaceOf(databaseKey) !== 1 || !known.has(text(key))) foreign.push(text(key))
    }
    await database.close()
    await storage.close()
  }
  verdict.check(`records on disk, of ${records}: unreadable`, unreadable, 'none', unreadable === 0)
  verdict.check('… of keys that nobody wrote', foreign.length, 'none', foreign.length === 0)
  for (const key of foreign.slice(0, 5)) verdict.remark(`nobody wrote ${JSON.stringify(key)}`)
}

function isReadable(key: Bytes, record: Bytes): boolean {
  try {
    decodeRecord(key, record)
    return true
  } catch {
    return false // What is wrong with it does not matter here.
  }
}

function memoryMib(pid: number): number {
  const { stdout } = spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })
  return Math.round(Number(stdout) / 1024)
}
