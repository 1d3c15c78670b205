import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { KvError } from '../../src/base/error.ts'
import type { KeyspaceId } from '../../src/base/ids.ts'
import type { Coordination } from '../../src/coordinator/coordination.ts'
import { Reclaimer } from '../../src/coordinator/reclaimer.ts'
import { createWorld, type SimWorld } from '../../src/simulator/sim-world.ts'
import type { Mortals } from '../../src/store/mortals.ts'

const test = suite('reclaimer')

const ONE = 1 as KeyspaceId
const OTHER = 2 as KeyspaceId
const QUIET_MS = 5000

interface Bench {
  readonly reclaimer: Reclaimer
  readonly sim: SimWorld
  /** What was compacted: keyspace, first partition, end. */
  readonly calls: [KeyspaceId, number, number][]
  error: KvError | null
  /** Records of each keyspace. */
  left: number
  /** Of each slice. */
  parts: number
  /** Parts after the first one of a slice. */
  compacted: number
  /** That each of these takes. */
  partMs: number
  phase: 'stable' | 'begun'
  /** So many were asked for. */
  requests(): number
  pass(ms: number): Promise<void>
}

function open(): Bench {
  const sim = createWorld({ seed: 'reclaimer' })
  const { clock, log } = sim.host('10.0.0.1').boot().effects
  const calls: Bench['calls'] = []
  const reclaim: Mortals['reclaim'] = async (keyspaceId, first, end, goOn) => {
    calls.push([keyspaceId, first, end])
    if (bench.error !== null) throw bench.error
    for (let part = 1; part < bench.parts && (await goOn()); part++) {
      bench.compacted += 1
      if (bench.partMs > 0) await new Promise<void>((resolve) => clock.setTimer(bench.partMs, resolve))
    }
  }
  const ring = () => ({ partitionCount: 64, configuration: { phase: bench.phase } })
  const counts = { of: () => ({ records: bench.left }) }
  const store = {
    ...{ mortals: { reclaim }, inventory: { counts } },
    get requestCount() {
      return bench.requests()
    },
  }
  const coordination = { clock, log, ring, store } as unknown as Coordination
  const bench: Bench = {
    ...{ sim, calls, error: null, left: 0, parts: 1, compacted: 0, reclaimer: new Reclaimer(coordination) },
    ...{ phase: 'stable', partMs: 0, requests: () => 0 },
    pass: (ms) => sim.scheduler.run(sim.scheduler.nowMs + ms),
  }
  return bench
}

function erase({ reclaimer }: Bench, count: number, partition: number, keyspaceId = ONE): void {
  for (let i = 0; i < count; i++) reclaimer.erased(keyspaceId, partition, 1)
}

test('few records are left to the database', async () => {
  const bench = open()
  erase(bench, 999, 3)
  await bench.pass(60_000)
  assert.equal(bench.calls, [])
  await bench.reclaimer.stop()
})

test('many are few where much more is left, until a twentieth of that went', async () => {
  const bench = open()
  bench.left = 60_000
  erase(bench, 2999, 3)
  await bench.pass(60_000)
  assert.equal(bench.calls, [])
  erase(bench, 1, 3)
  await bench.pass(60_000)
  assert.equal(bench.calls, [[ONE, 0, 4]])
  await bench.reclaimer.stop()
})

test('many that go at once count, however many went before', async () => {
  const bench = open()
  bench.left = 60_000
  bench.reclaimer.erased(ONE, 3, 999)
  bench.reclaimer.erased(ONE, 3, 2300)
  await bench.pass(60_000)
  assert.equal(bench.calls, [[ONE, 0, 4]])
  await bench.reclaimer.stop()
})

test('when many went, and no more do, the slices they were in are compacted, no others', async () => {
  const bench = open()
  erase(bench, 600, 3)
  erase(bench, 600, 42)
  erase(bench, 10, 9, OTHER)
  await bench.pass(QUIET_MS - 1000)
  erase(bench, 1, 4)
  await bench.pass(QUIET_MS - 1000)
  assert.equal(bench.calls, [])
  await bench.pass(2000)
  assert.equal(bench.calls, [
    [ONE, 0, 4],
    [ONE, 4, 8],
    [ONE, 40, 44],
  ])
  await bench.pass(60_000)
  assert.is(bench.calls.length, 3)
  await bench.reclaimer.stop()
})

test('a disk that cannot now is left alone until more went', async () => {
  const bench = open()
  bench.error = new KvError('INTERNAL', 'the disk is away')
  erase(bench, 1000, 3)
  erase(bench, 1000, 42)
  await bench.pass(60_000)
  assert.is(bench.calls.length, 1)
  bench.error = null
  erase(bench, 1000, 42)
  await bench.pass(60_000)
  assert.equal(bench.calls.at(-1), [ONE, 40, 44])
  await bench.reclaimer.stop()
})

test('what went from a keyspace with few counts on while another one is compacted, and before', async () => {
  const bench = open()
  erase(bench, 600, 9, OTHER)
  erase(bench, 1000, 3)
  await bench.pass(60_000)
  assert.equal(bench.calls, [[ONE, 0, 4]])
  erase(bench, 400, 33, OTHER)
  await bench.pass(60_000)
  assert.equal(bench.calls.slice(1), [
    [OTHER, 8, 12],
    [OTHER, 32, 36],
  ])
  await bench.reclaimer.stop()
})

test('what goes while a compaction is under way is compacted after it', async () => {
  const bench = open()
  bench.parts = 100
  erase(bench, 1000, 3)
  await bench.pass(QUIET_MS + 1000)
  assert.equal(bench.calls, [[ONE, 0, 4]])
  erase(bench, 1000, 42)
  await bench.pass(60_000)
  assert.equal(bench.calls.slice(1), [[ONE, 40, 44]])
  await bench.reclaimer.stop()
})

test('while the ring changes nothing is compacted, and what is under way goes on after it', async () => {
  const bench = open()
  bench.phase = 'begun'
  bench.parts = 1000
  erase(bench, 1000, 3)
  await bench.pass(60_000)
  assert.equal(bench.calls, [])
  bench.phase = 'stable'
  await bench.pass(2000)
  assert.ok(bench.compacted > 0)
  bench.phase = 'begun'
  await bench.pass(100)
  const { compacted } = bench
  await bench.pass(10_000)
  assert.is(bench.compacted, compacted)
  bench.phase = 'stable'
  await bench.pass(1000)
  assert.ok(bench.compacted > compacted)
  await bench.reclaimer.stop()
})

test('the pauses between parts are several times as long while there are requests', async () => {
  const bench = open()
  bench.parts = 1000
  bench.partMs = 100
  erase(bench, 1000, 3)
  await bench.pass(QUIET_MS + 4000)
  const idle = bench.compacted
  let count = 0
  bench.requests = () => count++
  await bench.pass(4000)
  const busy = bench.compacted - idle
  assert.ok(busy > 0 && 2 * busy < idle, `${busy} parts beside requests, ${idle} without`)
  await bench.reclaimer.stop()
})

test('who stops waits for the part under way, not for the rest of the slice', async () => {
  const bench = open()
  bench.parts = 1000
  erase(bench, 1000, 3)
  erase(bench, 1000, 42)
  await bench.pass(QUIET_MS + 1000)
  const { compacted } = bench
  assert.ok(compacted > 0 && compacted < 100)
  await bench.reclaimer.stop()
  assert.is(bench.compacted, compacted)
  assert.is(bench.calls.length, 1)
})

test('who stops waits for nothing', async () => {
  const bench = open()
  erase(bench, 1000, 3)
  await bench.pass(100)
  await bench.reclaimer.stop()
  await bench.pass(60_000)
  assert.is(bench.calls.length, 0)
})

test.run()
