import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { createPrng } from '../../src/base/prng.ts'
import { makeCuts, PARTITION_SHAPES } from '../../src/simulator/partition-shape.ts'
import { shrink } from '../../src/simulator/shrink.ts'
import { createSwarm, FAULT_CLASSES, type Fault } from '../../src/simulator/swarm.ts'

const test = suite('swarm')

const HOSTS = ['a', 'b', 'c', 'd', 'e']
const options = (seed: number, ring = false) => {
  return { seed, hosts: HOSTS, clients: ['x'], durationMs: 600_000, ring }
}

test('the same seed gives the same schedule, another one another', () => {
  assert.equal(createSwarm(options(1)), createSwarm(options(1)))
  assert.not.equal(createSwarm(options(1)), createSwarm(options(2)))
})

test('a seed takes some of the classes; a hundred seeds take them all, in schedules ordered by time', () => {
  const classes = new Set<string>()
  for (let seed = 0; seed < 100; seed++) {
    const faults = createSwarm(options(seed, true))
    const own = new Set(faults.map((fault) => fault.class))
    assert.ok(own.size >= 1, `seed ${seed} has a fault`)
    for (const name of own) classes.add(name)
    const times = faults.map((fault) => fault.atMs)
    assert.equal(
      times,
      times.slice().sort((a, b) => a - b),
    )
  }
  assert.equal([...classes].sort(), [...FAULT_CLASSES].sort())
})

test('what waits for steps of changes of the ring comes on top, and only where the ring changes', () => {
  for (let seed = 0; seed < 20; seed++) {
    const [without, faults] = [createSwarm(options(seed)), createSwarm(options(seed, true))]
    assert.equal(
      faults.filter((fault) => fault.class !== 'midChange'),
      without,
    )
  }
})

test('a schedule is plain data', () => {
  const faults = createSwarm(options(3, true))
  assert.equal(JSON.parse(JSON.stringify(faults)), faults)
})

test('every shape of partition cuts somebody off, and total cuts everybody', () => {
  for (const shape of PARTITION_SHAPES) {
    const cuts = makeCuts(shape, HOSTS, [], createPrng(shape))
    assert.ok(cuts.length > 0, shape)
    assert.ok(cuts.every(([from, to]) => from !== to))
    if (shape === 'total') assert.is(cuts.length, 20)
  }
})

test('in a ring everyone reaches a majority, and nobody everyone', () => {
  const cuts = makeCuts('ring', HOSTS, [], createPrng(1))
  for (const host of HOSTS) {
    const reached = HOSTS.filter((other) => !cuts.some(([from, to]) => from === host && to === other))
    assert.is(reached.length, 3)
  }
})

test('a one-way cut cuts no pair both ways', () => {
  const cuts = makeCuts('oneWay', HOSTS, [], createPrng(1)).map(String)
  assert.not(cuts.some((cut) => cuts.includes(cut.split(',').reverse().join(','))))
})

test('a pair is cut from each other alone, sometimes in one direction only', () => {
  const counts = new Set<number>()
  for (let seed = 0; seed < 20; seed++) {
    const cuts = makeCuts('pair', HOSTS, ['x'], createPrng(seed))
    assert.is(new Set(cuts.flat()).size, 2)
    counts.add(cuts.length)
  }
  assert.equal([...counts].sort(), [1, 2])
})

test('trouble brings trouble: who is back goes again, and a network heals in parts', () => {
  let [again, inParts] = [0, 0]
  for (let seed = 0; seed < 100; seed++) {
    const faults = createSwarm(options(seed))
    const after = (fault: Fault, withinMs: number): Fault[] => {
      const endMs = fault.atMs + fault.forMs
      return faults.filter(({ atMs }) => atMs >= endMs && atMs <= endMs + withinMs)
    }
    for (const fault of faults) {
      if (fault.class === 'restart') {
        const next = after(fault, 20_000).some(
          (other) => other.class === 'crash' && other.host === fault.host,
        )
        if (next) again++
      }
      if (fault.class === 'partition') {
        const left = after(fault, 0).some((other) => other.class === 'partition' && other.shape === 'pair')
        if (left) inParts++
      }
    }
  }
  assert.ok(again > 20, `${again} times a peer was killed soon after a stop in order`)
  assert.ok(inParts > 100, `${inParts} networks healed in parts`)
})

test('shrinking finds the two faults that matter among forty', async () => {
  const items = Array.from({ length: 40 }, (_, i) => i)
  const fails = async (subset: readonly number[]) => subset.includes(7) && subset.includes(31)
  const { items: kept, isMinimal } = await shrink(items, fails, 500)
  assert.equal(kept, [7, 31])
  assert.ok(isMinimal)
})

test('shrinking says when no fault is needed at all, and stops when its runs are used up', async () => {
  assert.equal((await shrink([1, 2, 3], async () => true, 10)).items, [])
  const limited = await shrink([1, 2, 3, 4, 5, 6, 7, 8], async (subset) => subset.includes(8), 3)
  assert.not(limited.isMinimal)
  assert.ok(limited.items.includes(8))
})

test.run()
