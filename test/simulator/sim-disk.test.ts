import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { createPrng } from '../../src/base/prng.ts'
import { type SimDelay, SimDisk, type SimDiskOptions } from '../../src/simulator/sim-disk.ts'
import { createSimDelay, openSimStorage } from '../../src/simulator/sim-storage.ts'

const SEEDS = 60

/** Work waits here until the test lets it happen. */
function heldWork() {
  const waiting: (() => void)[] = []
  const delay: SimDelay = (_work, run) => waiting.push(run)
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const next = async (): Promise<void> => {
    await turn()
    waiting.shift()?.()
    await turn()
  }
  const all = async (): Promise<void> => {
    await turn()
    while (waiting.length > 0) await next()
  }
  return { delay, next, all }
}

type Held = ReturnType<typeof heldWork>

async function finish<T>(held: Held, promise: Promise<T>): Promise<T> {
  await held.all()
  return promise
}

async function openDisk(options: SimDiskOptions = {}) {
  const disk = new SimDisk(options)
  const held = heldWork()
  const storage = openSimStorage(disk, held.delay)
  const database = await finish(held, storage.openDatabase())
  const put = (key: string, sync: boolean): Promise<void> =>
    database.batch([{ type: 'put', key: utf8(key), value: utf8(key) }], { sync } as object)
  return { disk, held, storage, database, put }
}

/** The keys that a crash left, and what a process that opens the disk afterwards finds. */
function leftBy(disk: SimDisk): string {
  const keys: string[] = []
  for (const place = disk.image().tree.begin; place.valid; place.next())
    keys.push(text(place.key as Uint8Array))
  return keys.join('')
}

test('a power cut loses unsynced batches from the end only, and synced ones never', async () => {
  const left = new Set<string>()
  for (let seed = 0; seed < SEEDS; seed++) {
    const { disk, held, put } = await openDisk()
    for (const [key, sync] of [
      ['a', false],
      ['b', true],
      ['c', false],
      ['d', false],
    ] as const) {
      await finish(held, put(key, sync))
    }
    disk.crash(createPrng(seed))
    left.add(leftBy(disk))
  }
  assert.equal([...left].sort(), ['ab', 'abc', 'abcd'])
})

test('a synced batch under way happened or did not, and what waits behind it did not', async () => {
  const left = new Set<string>()
  for (let seed = 0; seed < SEEDS; seed++) {
    const { disk, held, put } = await openDisk()
    void put('a', true)
    void put('b', true)
    await held.next()
    void put('c', true)
    disk.crash(createPrng(seed))
    await held.all()
    left.add(leftBy(disk))
  }
  assert.equal([...left].sort(), ['a', 'ab'])
})

test('a killed process loses nothing that it was told is written', async () => {
  const left = new Set<string>()
  for (let seed = 0; seed < SEEDS; seed++) {
    const { disk, held, put } = await openDisk()
    await finish(held, put('a', false))
    void put('b', false)
    disk.crash(createPrng(seed), 'process')
    left.add(leftBy(disk))
  }
  assert.equal([...left].sort(), ['a', 'ab'])
})

test('a small file is the old one or the new one, and the new one once its write is done', async () => {
  const left = new Set<string>()
  for (let seed = 0; seed < SEEDS; seed++) {
    const { disk, held, storage } = await openDisk()
    await finish(held, storage.writeFile('file', utf8('old')))
    void storage.writeFile('file', utf8('new'))
    void storage.removeFile('file')
    await new Promise((resolve) => setImmediate(resolve))
    disk.crash(createPrng(seed))
    left.add(text(disk.image().files.get('file') ?? utf8('none')))
  }
  assert.equal([...left].sort(), ['new', 'old'])
})

test('reads see a write when it is done, not before', async () => {
  const { held, database, put } = await openDisk()
  const written = put('a', true)
  assert.is(database.getSync(utf8('a')), undefined)
  await finish(held, written)
  assert.is(text(database.getSync(utf8('a')) ?? utf8('')), 'a')
})

test('what was written is durable once the database is opened again', async () => {
  const { disk, held, storage, database, put } = await openDisk()
  await finish(held, put('a', false))
  await finish(held, database.close())
  await finish(held, storage.openDatabase())
  disk.crash(createPrng(1))
  assert.is(leftBy(disk), 'a')
})

test('after a failed write no other is taken until the database is opened again', async () => {
  let isBroken = false
  const { held, storage, database, put } = await openDisk({
    fail: () => (isBroken ? { message: 'broken', kept: false } : null),
  })
  isBroken = true
  const failed = put('a', true).catch((error: Error) => error.message)
  assert.is(await finish(held, failed), 'broken')
  isBroken = false
  const refused = put('b', true).catch((error: Error) => error.message)
  assert.is(await finish(held, refused), 'broken')
  await finish(held, database.close())
  const again = await finish(held, storage.openDatabase())
  await finish(held, again.put(utf8('c'), utf8('c')))
  assert.is(again.getSync(utf8('a')), undefined)
})

test('an observer hears of every batch: written, then durable or lost', async () => {
  const heard: string[] = []
  const note = (what: string) => (operations: readonly { readonly key: Uint8Array }[]) => {
    heard.push(...operations.map(({ key }) => `${what} ${text(key)}`))
  }
  const observer = { onWrite: note('write'), onDurable: note('durable'), onLost: note('lost') }
  const { disk, held, put } = await openDisk({ observer })
  await finish(held, put('a', false))
  await finish(held, put('b', true))
  await finish(held, put('c', false))
  assert.equal(heard, ['write a', 'write b', 'durable a', 'durable b', 'write c'])
  for (let seed = 0; heard.length < 6; seed++) disk.crash(createPrng(seed))
  assert.match(heard[5] as string, /^(durable|lost) c$/)
})

test('one process has a disk at a time; a dead one hears nothing and reads nothing', async () => {
  const { disk, held, database, put } = await openDisk()
  assert.throws(
    () => openSimStorage(disk, held.delay),
    (error: unknown) => error instanceof KvError,
  )
  let isTold = false
  const tell = (): void => {
    isTold = true
  }
  put('a', true).then(tell, tell)
  await new Promise((resolve) => setImmediate(resolve))
  disk.crash(createPrng(3))
  await held.all()
  assert.not(isTold)
  assert.throws(() => database.getSync(utf8('a')), /is no more/)
  openSimStorage(disk, held.delay)
})

test('a synced write takes 0.2 to 2 ms', () => {
  const delays: number[] = []
  const delay = createSimDelay(createPrng(1), (delayMs) => delays.push(delayMs))
  for (let i = 0; i < 100; i++) delay('sync', () => undefined)
  assert.ok(Math.min(...delays) >= 0.2 && Math.max(...delays) <= 2)
})

test.run()
