import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { text, utf8 } from '../../src/base/bytes.ts'
import { KvError } from '../../src/base/error.ts'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { createDatabase, DATA_FORMAT, openLevelStorage } from '../../src/platform/level-storage.ts'
import { createLog } from '../../src/platform/log.ts'
import { createSystemMetrics } from '../../src/platform/metrics.ts'
import { createSystemClock } from '../../src/platform/system-clock.ts'
import { createSystemRandom } from '../../src/platform/system-random.ts'
import { Store } from '../../src/store/store.ts'
import { assertGivesBuffers, runLevelSuite } from '../simulator/level-suite.ts'

const root = mkdtempSync(join(tmpdir(), 'kvnode-level-storage-'))
let directories = 0
const newDirectory = (): string => join(root, String(++directories), 'data')

function sizeOf(directory: string): number {
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
}

function randomBytes(prng: Prng, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => prng.int(256))
}

test.after(() => rmSync(root, { recursive: true, force: true }))

test("the database passes abstract-level's own suite", async () => {
  const { assertions, failures } = await runLevelSuite((options) =>
    createDatabase(mkdtempSync(join(root, 'suite-')), options ?? {}),
  )
  assert.equal(failures, [])
  assert.ok(assertions > 4000, `the suite ran: ${assertions} assertions`)
})

test('the database gives bytes of which `slice` is no copy: a simulated one must too', async () => {
  await assertGivesBuffers(createDatabase(mkdtempSync(join(root, 'slices-'))))
})

test('what was written is there when the directory is opened again', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const database = await storage.openDatabase()
  await database.batch([{ type: 'put', key: utf8('key'), value: utf8('value') }], { sync: true } as object)
  await storage.writeFile('identity', utf8('me'))
  await storage.writeFile('identity', utf8('still me'))
  await storage.writeFile('marker', utf8('clean'))
  await storage.removeFile('marker')
  await storage.removeFile('marker')
  await database.close()
  await storage.close()
  await storage.close()

  const again = await openLevelStorage(directory)
  const reopened = await again.openDatabase()
  assert.is(text(reopened.getSync(utf8('key')) ?? utf8('')), 'value')
  assert.is(text((await again.readFile('identity')) ?? utf8('')), 'still me')
  assert.is(await again.readFile('marker'), null)
  await reopened.close()
  await again.close()
  assert.equal(readdirSync(directory).sort(), ['database', 'format', 'identity', 'lock'])
})

test('the space of what was deleted comes back when it is reclaimed', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const database = await storage.openDatabase()
  const key = (i: number): Uint8Array => utf8(`key ${String(i).padStart(6, '0')}`)
  const prng = createPrng('values')
  for (let first = 0; first < 40_000; first += 4000) {
    const chain = database.batch()
    for (let i = first; i < first + 4000; i++) chain.put(key(i), randomBytes(prng, 1000))
    await chain.write()
  }
  const full = sizeOf(join(directory, 'database'))
  const chain = database.batch()
  for (let i = 0; i < 40_000; i++) if (i % 100 !== 0) chain.del(key(i))
  await chain.write({ sync: true } as object)
  let parts = 1
  const next = async (): Promise<boolean> => ++parts < 1000
  await storage.reclaim(key(0), key(40_000), next)
  assert.ok(parts > 1, 'so much is not compacted at once')
  const left = sizeOf(join(directory, 'database'))
  assert.ok(left < full / 10, `${full} bytes became ${left}`)
  assert.is(database.getSync(key(100))?.length, 1000)
  await database.close()
  await storage.close()
})

test('the database can be closed and opened again under one lock', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const first = await storage.openDatabase()
  await first.close()
  await refused(openLevelStorage(directory), 'INVALID_ARGUMENT', /in use/)
  const second = await storage.openDatabase()
  assert.is(second.status, 'open')
  await second.close()
  await storage.close()
})

test('a directory that went away while it was open is noticed, and used again when it is back', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const database = await storage.openDatabase()
  await database.put(utf8('key'), utf8('value'))
  await storage.checkPlace()
  renameSync(directory, `${directory}-moved`)
  await refused(
    storage.checkPlace(),
    'INTERNAL',
    /data was deleted or replaced .*: put it back as it was, or/,
  )
  cpSync(`${directory}-moved`, directory, { recursive: true })
  await refused(storage.checkPlace(), 'INTERNAL', /deleted or replaced/)
  await refused(storage.writeFile('identity', utf8('me')), 'INTERNAL', /deleted or replaced/)
  await refused(storage.removeFile('marker'), 'INTERNAL', /deleted or replaced/)
  await database.close()
  await refused(storage.openDatabase(), 'INTERNAL', /deleted or replaced/)
  rmSync(directory, { recursive: true })
  renameSync(`${directory}-moved`, directory)
  await storage.checkPlace()
  const again = await storage.openDatabase()
  assert.is(text(again.getSync(utf8('key')) ?? utf8('')), 'value')
  await again.close()
  await storage.close()
})

test('no new database is made where one was deleted while it was open, and nothing else is', async () => {
  for (const [what, left] of [
    ['.', []],
    ['database', ['format', 'holder.pid', 'lock']],
  ] as const) {
    const directory = newDirectory()
    const storage = await openLevelStorage(directory)
    const database = await storage.openDatabase()
    for (const name of what === '.' ? readdirSync(directory) : [what])
      rmSync(join(directory, name), { recursive: true })
    await refused(storage.checkPlace(), 'INTERNAL', /deleted or replaced/)
    await database.close()
    await refused(storage.openDatabase(), 'INTERNAL', /deleted or replaced/)
    if (what === '.') await refused(storage.writeFile('votes', utf8('v')), 'INTERNAL', /deleted or replaced/)
    assert.equal(readdirSync(directory).sort(), left)
    await storage.close()
  }
})

test('a store whose directory was deleted takes no more writes, and says what to do', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const clock = createSystemClock()
  const random = createSystemRandom()
  const metrics = createSystemMetrics()
  const log = await createLog({ level: 'silent' })
  const store = await Store.open({ storage, clock, random, metrics, log })
  await store.checkPlace()
  assert.is(store.outage, null)
  rmSync(directory, { recursive: true })
  await store.checkPlace()
  assert.match(store.outage ?? '', /^its disk fails: .* was deleted or replaced while this peer ran: put it/)
  await store.checkPlace()
  await store.close()
  await storage.close()
  assert.not(existsSync(directory))
})

test('a second storage on a directory is refused, also under another name of it', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const alias = join(root, `alias-${directories}`)
  symlinkSync(directory, alias)
  await refused(
    openLevelStorage(directory),
    'INVALID_ARGUMENT',
    new RegExp(`${directory} is in use by process ${process.pid}:`),
  )
  await refused(openLevelStorage(alias), 'INVALID_ARGUMENT', /is in use by process/)
  await storage.close()
})

test('another process is refused while this one lives, and not after it was killed', async () => {
  const directory = newDirectory()
  const holder = await holdInAnotherProcess(directory)
  await refused(
    openLevelStorage(directory),
    'INVALID_ARGUMENT',
    new RegExp(`in use by process ${holder.pid}:`),
  )
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  const storage = await openLevelStorage(directory)
  assert.is(readFileSync(join(directory, 'holder.pid'), 'utf8'), `${process.pid}\n`)
  await storage.close()
})

test('a directory is made with all above it, and refused where none can be made', async () => {
  const deep = join(newDirectory(), 'a', 'b')
  await (await openLevelStorage(deep)).close()
  assert.ok(readdirSync(deep).includes('format'))
  if (process.platform !== 'linux') return
  await refused(openLevelStorage('/proc/kvnode/data'), 'INVALID_ARGUMENT', /nothing can be made there/)
})

test('data of a newer format is refused and left alone', async () => {
  const directory = newDirectory()
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'format'), `kvnode data format ${DATA_FORMAT + 1}\n`)
  await refused(
    openLevelStorage(directory),
    'INVALID_ARGUMENT',
    /format 4; this version of kvnode knows formats up to 3/,
  )
  assert.equal(readdirSync(directory), ['format'])
})

test('data of an older format is refused and left alone', async () => {
  const directory = newDirectory()
  mkdirSync(directory, { recursive: true })
  for (const format of [1, 2]) {
    writeFileSync(join(directory, 'format'), `kvnode data format ${format}\n`)
    await refused(openLevelStorage(directory), 'INVALID_ARGUMENT', /of an earlier build/)
    assert.equal(readdirSync(directory), ['format'])
  }
})

test('a directory whose format file is missing or not ours is refused', async () => {
  const foreign = newDirectory()
  mkdirSync(foreign, { recursive: true })
  writeFileSync(join(foreign, 'format'), 'A4')
  await refused(openLevelStorage(foreign), 'INVALID_ARGUMENT', /is not a data directory/)
  const partial = newDirectory()
  mkdirSync(join(partial, 'database'), { recursive: true })
  await refused(openLevelStorage(partial), 'INVALID_ARGUMENT', /has a database but no file 'format'/)
})

test('a name that is no directory, or under one that is none, is refused', async () => {
  const file = join(root, 'a-file')
  writeFileSync(file, '')
  await refused(openLevelStorage(file), 'INVALID_ARGUMENT', /it is not a directory/)
  await refused(openLevelStorage(join(file, 'data')), 'INVALID_ARGUMENT', /it is not a directory/)
})

test('a directory that we may not write is refused', async () => {
  if (process.getuid?.() === 0) return // Nothing is forbidden to root.
  const directory = newDirectory()
  mkdirSync(directory, { recursive: true })
  chmodSync(directory, 0o500)
  await refused(openLevelStorage(directory), 'INVALID_ARGUMENT', /permission denied/)
})

test('a damaged lock does not keep a peer from starting', async () => {
  const directory = newDirectory()
  await (await openLevelStorage(directory)).close()
  for (const name of readdirSync(join(directory, 'lock'))) {
    if (name.startsWith('MANIFEST')) writeFileSync(join(directory, 'lock', name), 'damaged')
  }
  await (await openLevelStorage(directory)).close()
})

test('a damaged database is reported with what to do, and left as it is', async () => {
  const manifestOf = (database: string): string =>
    join(database, readdirSync(database).find((name) => name.startsWith('MANIFEST')) as string)
  const current = (database: string): string => join(database, 'CURRENT')
  const flipped = (path: string, index: number): Buffer => {
    const bytes = readFileSync(path)
    bytes[index] = (bytes[index] as number) ^ 1
    return bytes
  }
  const damages: readonly ((database: string) => void)[] = [
    (database) => writeFileSync(manifestOf(database), 'damaged'),
    (database) => rmSync(manifestOf(database)),
    (database) => writeFileSync(current(database), flipped(current(database), 3)),
    (database) => writeFileSync(current(database), '\0\0\0\0\n'),
    (database) => writeFileSync(current(database), ''),
    (database) => rmSync(current(database)),
  ]
  for (const damage of damages) {
    const directory = newDirectory()
    const storage = await openLevelStorage(directory)
    await (await storage.openDatabase()).close()
    await (await storage.openDatabase()).close()
    const database = join(directory, 'database')
    damage(database)
    const sizes = (): Record<string, number> =>
      Object.fromEntries(
        readdirSync(database)
          .filter((name) => !/^(LOCK|LOG)/.test(name))
          .map((name) => [name, statSync(join(database, name)).size]),
      )
    const before = sizes()
    await refused(storage.openDatabase(), 'INTERNAL', /damaged: restore/)
    assert.equal(sizes(), before)
    await storage.close()
  }
})

test('a directory above those of peers is not taken for an empty one, and stays as it is', async () => {
  const parent = newDirectory()
  await (await openLevelStorage(join(parent, '7001'))).close()
  await refused(openLevelStorage(parent), 'INVALID_ARGUMENT', /data directory is in .*, 7001: name that one/)
  assert.equal(readdirSync(parent), ['7001'])
  writeFileSync(join(parent, '7001', 'format'), 'a book\n')
  await (await openLevelStorage(parent)).close()
})

test('what is damaged and shows only when it is read is reported in the same words', async () => {
  const directory = newDirectory()
  const storage = await openLevelStorage(directory)
  const database = await storage.openDatabase()
  await database.batch([{ type: 'put', key: utf8('key'), value: utf8('x'.repeat(10_000)) }])
  await database.close()
  await (await storage.openDatabase()).close()
  const files = readdirSync(join(directory, 'database'))
  const table = join(directory, 'database', files.find((name) => name.endsWith('.ldb')) ?? '')
  truncateSync(table, 100)
  const [clock, random, metrics] = [createSystemClock(), createSystemRandom(), createSystemMetrics()]
  const effects = { clock, random, metrics, log: await createLog({ level: 'silent' }), storage }
  await refused(Store.open(effects), 'INTERNAL', /the database in .* is damaged: restore/)
  const ownBug = new TypeError('x is not a function')
  assert.is(storage.explain(ownBug), ownBug)
  await storage.close()
})

async function refused(attempt: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const error = await attempt.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, KvError)
  assert.is((error as KvError).code, code)
  assert.match((error as KvError).message, message)
}

async function holdInAnotherProcess(directory: string): Promise<ChildProcess> {
  const module = new URL('../../src/platform/level-storage.ts', import.meta.url).href
  const program = `
    const { openLevelStorage } = await import(${JSON.stringify(module)})
    const storage = await openLevelStorage(${JSON.stringify(directory)})
    await storage.openDatabase()
    console.log('open')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

test.run()
