/**
 * A peer's directory on this machine's file system:
 *
 *     format      the version of everything below, as text
 *     lock/       an empty LevelDB whose only use is its lock
 *     holder.pid  who holds that lock; for messages only
 *     database/   the LevelDB with the data
 *     (others)    the small files of `readFile` and `writeFile`
 *
 * The lock is LevelDB's own (fcntl on POSIX, an exclusive handle on Windows): the operating system lets go of
 * it when the process ends in whatever way, so there is no stale lock to judge. It is taken before anything
 * but `format` is read, and held while the database is closed and opened again. Nothing here may open
 * `lock/LOCK` itself: POSIX drops the lock when any descriptor of it is closed.
 */
import { type FileHandle, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { assert } from '../base/assert.ts'
import { type Bytes, copyBytes, strictText, utf8 } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Database, Storage } from '../effects/storage.ts'
import { makeDirectory, syncDirectory } from './directories.ts'
import { causeOf, fail, failure } from './disk-failure.ts'
import { OpenFile } from './open-file.ts'
import { endOfPart } from './range-part.ts'

/**
 * Raised when what is written here can no longer be read by the versions before. Directories of older formats
 * are read as they are, and belong to this one from then on: 2 has records without values, which 1 takes for
 * damaged.
 */
export const DATA_FORMAT = 3

const SETTINGS = {
  keyEncoding: 'view',
  valueEncoding: 'view',
  /** LevelDB collects this much in memory before it writes a sorted table; twice that may be in use. */
  writeBufferSize: 16 * 1024 * 1024,
  cacheSize: 32 * 1024 * 1024,
}
const FORMAT_FILE = 'format'
/** LevelDB keeps it open as long as the database is, and never replaces it, as it does `CURRENT`. */
const LOCK_FILE = 'LOCK'
export const HOLDER_FILE = 'holder.pid'
const FORMAT_TEXT = /^kvnode data format (\d{1,9})\n$/
const FILE_NAME = /^[a-z][a-z0-9.-]{0,63}$/
const OWN_NAMES: ReadonlySet<string> = new Set([FORMAT_FILE, HOLDER_FILE, 'lock', 'database'])

/**
 * Takes the directory for this process, makes it when missing.
 * @throws INVALID_ARGUMENT when it is in use by another process, of a newer format, not a directory, or not
 * ours to write; INTERNAL when the disk is full or fails
 */
export async function openLevelStorage(directory: string): Promise<Storage> {
  const asked = resolve(directory)
  const path = await makeDirectory(asked).catch((error) =>
    fail(`cannot use ${asked} as data directory`, error),
  )
  // Before anything is made there.
  if ((await checkFormat(path)) === null) await checkAbovePeers(path)
  const lock = await takeLock(path)
  try {
    const format = await checkFormat(path)
    if (format === null) await checkEmpty(path)
    if (format !== DATA_FORMAT) await writeFormat(path)
    // Only ever read in messages: no reason not to start.
    await writeFile(join(path, HOLDER_FILE), `${process.pid}\n`).catch(() => undefined)
    return new LevelStorage(path, lock, await OpenFile.at(join(path, 'lock', LOCK_FILE)))
  } catch (error) {
    await lock.close()
    return fail(`cannot use ${path} as data directory`, error)
  }
}

/** Not yet open. */
export function createDatabase(location: string, settings: object = SETTINGS): Database {
  // classic-level takes more types of keys and values than the ones we give it.
  return new ClassicLevel(location, settings) as unknown as Database
}

/** What LevelDB does besides what every such database does. */
type Compactable = Pick<ClassicLevel, 'status'> & {
  approximateSize(start: Bytes, end: Bytes, options: object): Promise<number>
  compactRange(start: Bytes, end: Bytes, options: object): Promise<void>
}
const VIEWS = { keyEncoding: 'view' }
/** At once, about: LevelDB ends no compaction before its time, requests feel it, and a close waits for it. */
const COMPACTED_BYTES = 8 * 1024 * 1024

class LevelStorage implements Storage {
  readonly name: string
  readonly #lock: ClassicLevel
  readonly #lockFile: OpenFile
  #database: Database | null = null
  /** Of the database that was open last. */
  #databaseFile: OpenFile | null = null
  /** Small files are changed one after another. */
  #changes: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | null = null

  constructor(path: string, lock: ClassicLevel, lockFile: OpenFile) {
    this.name = path
    this.#lock = lock
    this.#lockFile = lockFile
  }

  async openDatabase(): Promise<Database> {
    assert(this.#closing === null, 'a database is opened before its storage is closed')
    assert(this.#database === null || this.#database.status === 'closed', 'a database is opened once')
    await this.checkPlace() // LevelDB would make a new one.
    const location = join(this.name, 'database')
    await checkCurrent(this.name, location)
    const database = createDatabase(location)
    this.#database = database
    await database.open().catch((error) => {
      throw explained(`cannot open the database in ${this.name}`, this.name, error)
    })
    try {
      this.#databaseFile ??= await OpenFile.at(join(location, LOCK_FILE))
      await syncDirectory(this.name) // LevelDB syncs what is in its directory, not that there is one.
    } catch (error) {
      await database.close()
      fail(`cannot open the database in ${this.name}`, error)
    }
    return database
  }

  async checkPlace(): Promise<void> {
    await this.#checkHeld(this.#lockFile)
    if (this.#databaseFile !== null) await this.#checkHeld(this.#databaseFile)
  }

  explain(error: unknown): unknown {
    const { code } = causeOf(error)
    const isOurs = error instanceof KvError || !code?.startsWith('LEVEL_')
    return isOurs ? error : explained(`cannot use the database in ${this.name}`, this.name, error)
  }

  async reclaim(gte: Bytes, lt: Bytes, goOn: () => Promise<boolean>): Promise<void> {
    let from = gte
    do {
      const database = this.#database as unknown as Compactable | null
      if (database === null || database.status !== 'open') return
      const sizeOf = (start: Bytes, end: Bytes) => database.approximateSize(start, end, VIEWS)
      try {
        const to = await endOfPart(sizeOf, from, lt, COMPACTED_BYTES)
        await database.compactRange(from, to, VIEWS)
        from = to
      } catch (error) {
        fail(`cannot compact ${this.name}`, error)
      }
    } while (from !== lt && (await goOn()))
  }

  async readFile(name: string): Promise<Bytes | null> {
    await this.#changes
    return readSmallFile(this.#pathOf(name))
  }

  writeFile(name: string, bytes: Bytes): Promise<void> {
    const path = this.#pathOf(name)
    const own = copyBytes(bytes)
    return this.#inTurn(async () => {
      await this.#checkHeld(this.#lockFile)
      await replaceFile(this.name, path, own)
    })
  }

  removeFile(name: string): Promise<void> {
    const path = this.#pathOf(name)
    return this.#inTurn(async () => {
      await this.#checkHeld(this.#lockFile)
      await rm(path, { force: true })
      await syncDirectory(this.name)
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    assert(
      this.#database === null || this.#database.status === 'closed',
      'the database is closed before its storage',
    )
    await this.#changes
    // Left behind it names nobody who holds the lock, and is not read.
    await this.#checkHeld(this.#lockFile)
      .then(() => rm(join(this.name, HOLDER_FILE), { force: true }))
      .catch(() => undefined)
    await this.#lock.close()
  }

  /** @throws INTERNAL when the directory has it no more */
  async #checkHeld(file: OpenFile): Promise<void> {
    const isInPlace = await file.isInPlace().catch((error) => fail(`cannot look into ${this.name}`, error))
    if (!isInPlace) throw gone(this.name)
  }

  #pathOf(name: string): string {
    assert(FILE_NAME.test(name) && !OWN_NAMES.has(name), 'a small file has a plain name of its own')
    assert(this.#closing === null, 'small files are used before their storage is closed')
    return join(this.name, name)
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const result = this.#changes.then(change).catch((error) => fail(`cannot write in ${this.name}`, error))
    this.#changes = result.catch(() => undefined) // Its caller hears of the failure; the next one goes on.
    return result
  }
}

/** The format that the directory says it is of; null: it says nothing yet. */
async function checkFormat(path: string): Promise<number | null> {
  const bytes = await readSmallFile(join(path, FORMAT_FILE))
  if (bytes === null) return null
  const format = Number(FORMAT_TEXT.exec(strictText(bytes) ?? '')?.[1])
  if (format === DATA_FORMAT) return format
  if (format >= 1 && format < DATA_FORMAT) {
    const versions = `format ${format}, of an earlier build; this version of kvnode reads ${DATA_FORMAT} only`
    throw new KvError('INVALID_ARGUMENT', `${path} has data of ${versions}: use the kvnode that wrote it`)
  }
  if (format > DATA_FORMAT) {
    const versions = `format ${format}; this version of kvnode knows formats up to ${DATA_FORMAT}`
    throw new KvError(
      'INVALID_ARGUMENT',
      `${path} has data of ${versions}: use the newer kvnode that wrote it`,
    )
  }
  throw new KvError(
    'INVALID_ARGUMENT',
    `${path} is not a data directory: its file '${FORMAT_FILE}' is not one of kvnode's`,
  )
}

async function checkEmpty(path: string): Promise<void> {
  if (!(await readdir(path)).includes('database')) return
  const advice = 'copy all of a data directory, or name an empty one'
  throw new KvError('INVALID_ARGUMENT', `${path} has a database but no file '${FORMAT_FILE}': ${advice}`)
}

/** One level off, and a new cluster would begin amid the directories of another one's peers. */
async function checkAbovePeers(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error) =>
    fail(`cannot use ${path} as data directory`, error),
  )
  for (const entry of entries) {
    if (!entry.isDirectory()) continue
    // What cannot be read is not known to be a peer's.
    const bytes = await readSmallFile(join(path, entry.name, FORMAT_FILE)).catch(() => null)
    if (bytes === null || !FORMAT_TEXT.test(strictText(bytes) ?? '')) continue
    const advice = 'name that one, or one of its own'
    throw new KvError('INVALID_ARGUMENT', `a peer's data directory is in ${path}, ${entry.name}: ${advice}`)
  }
}

async function writeFormat(path: string): Promise<void> {
  await replaceFile(path, join(path, FORMAT_FILE), utf8(`kvnode data format ${DATA_FORMAT}\n`))
}

async function takeLock(path: string): Promise<ClassicLevel> {
  const location = join(path, 'lock')
  const lock = new ClassicLevel(location, { writeBufferSize: 64 * 1024, cacheSize: 0 })
  try {
    await lock.open().catch(async (error) => {
      if (causeOf(error).code !== 'LEVEL_CORRUPTION') throw error
      await ClassicLevel.repair(location) // There is nothing in it to lose.
      await lock.open()
    })
    return lock
  } catch (error) {
    if (causeOf(error).code !== 'LEVEL_LOCKED') return fail(`cannot use ${path} as data directory`, error)
    const holder = strictText(
      (await readSmallFile(join(path, HOLDER_FILE)).catch(() => null)) ?? utf8(''),
    )?.trim()
    const who = /^\d+$/.test(holder ?? '') ? `process ${holder}` : 'another process'
    const advice = 'stop that one, or give this one a directory of its own'
    throw new KvError('INVALID_ARGUMENT', `the data directory ${path} is in use by ${who}: ${advice}`, {
      cause: error,
    })
  }
}

/** The directory's one true name: two names of it must not be two locks. */
async function readSmallFile(path: string): Promise<Bytes | null> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    return fail(`cannot read ${path}`, error)
  }
}

async function replaceFile(directory: string, path: string, bytes: Bytes): Promise<void> {
  const temporary = `${path}.tmp`
  await withFile(temporary, 'w', async (file) => {
    await file.writeFile(bytes)
    await file.sync()
  })
  await rename(temporary, path)
  await syncDirectory(directory)
}

async function withFile(
  path: string,
  flags: string,
  use: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await open(path, flags)
  try {
    await use(file)
  } finally {
    await file.close()
  }
}

/** What LevelDB quotes of the system when its files are as they were. */
const SYSTEM_REASON =
  /No space|quota|Permission denied|Read-only|Too many open|Input\/output|Cannot allocate|File too large/i

/** @param what was tried, for when the files are as they were */
function explained(what: string, path: string, error: unknown): KvError {
  const { code, message } = causeOf(error)
  // A file that another one names and that is not there is an "IO error" too.
  const isDamaged = code === 'LEVEL_CORRUPTION' || (code === 'LEVEL_IO_ERROR' && !SYSTEM_REASON.test(message))
  return isDamaged ? damaged(path, error) : failure(what, error)
}

/**
 * Without its file CURRENT, which it makes before any other but the first manifest, LevelDB takes a database
 * for a new one and deletes what there is.
 */
async function checkCurrent(path: string, location: string): Promise<void> {
  // What cannot be listed is not there yet, or LevelDB says what it is.
  const names = await readdir(location).catch((): string[] => [])
  const isLost = !names.includes('CURRENT') && names.some((name) => /\.(ldb|sst|log)$/.test(name))
  if (isLost) throw damaged(path, new Error('there is no file CURRENT'))
}

function gone(path: string): KvError {
  const advice = 'put it back as it was, or stop this peer and start it with an empty directory and --join'
  return new KvError('INTERNAL', `${path} was deleted or replaced while this peer ran: ${advice}`)
}

function damaged(path: string, cause: unknown): KvError {
  const advice = 'restore the directory from a backup, or start empty and let the other peers fill it'
  return new KvError('INTERNAL', `the database in ${path} is damaged: ${advice}`, { cause })
}
