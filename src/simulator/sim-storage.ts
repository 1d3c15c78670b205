/** The `Storage` of a simulated peer: one process's view of a `SimDisk`. */
import { assert } from '../base/assert.ts'
import { type Bytes, copyBytes } from '../base/bytes.ts'
import type { Prng } from '../base/prng.ts'
import type { Database, Storage } from '../effects/storage.ts'
import { SimDatabase } from './sim-database.ts'
import type { SimDelay, SimDisk, SimDiskSession, SimDiskWork } from './sim-disk.ts'

/** Shortest and longest time of each kind of work, in ms: an SSD on an ordinary day. */
const LATENCY_MS: Readonly<Record<SimDiskWork, readonly [number, number]>> = {
  write: [0.01, 0.05],
  sync: [0.2, 2],
  file: [0.3, 3],
  open: [1, 5],
}

/** @param schedule runs something after so many virtual milliseconds */
export function createSimDelay(prng: Prng, schedule: (delayMs: number, run: () => void) => void): SimDelay {
  return (work, run) => {
    const [shortest, longest] = LATENCY_MS[work]
    schedule(shortest + prng.float() * (longest - shortest), run)
  }
}

/** @throws INVALID_ARGUMENT when another process has the disk open */
export function openSimStorage(disk: SimDisk, delay: SimDelay, name = 'simulated disk'): Storage {
  return new SimStorage(disk.open(delay), name)
}

class SimStorage implements Storage {
  readonly name: string
  readonly #session: SimDiskSession
  #database: SimDatabase | null = null
  /** Small files are changed one after another. */
  #files: Promise<unknown> = Promise.resolve()

  constructor(session: SimDiskSession, name: string) {
    this.#session = session
    this.name = name
  }

  async openDatabase(): Promise<Database> {
    assert(this.#database === null, 'a database is opened once')
    await this.#session.recover()
    const database = new SimDatabase(this.#session, () => {
      this.#database = null
    })
    this.#database = database
    await database.open()
    return database
  }

  async checkPlace(): Promise<void> {
    this.#session.look()
  }

  /** Its errors say all there is. */
  explain(error: unknown): unknown {
    return error
  }

  /** Nothing is left over here. */
  async reclaim(): Promise<void> {}

  readFile(name: string): Promise<Bytes | null> {
    return this.#inTurn(() => this.#session.readFile(name))
  }

  writeFile(name: string, bytes: Bytes): Promise<void> {
    const own = copyBytes(bytes)
    return this.#inTurn(() => this.#session.changeFile(name, own))
  }

  removeFile(name: string): Promise<void> {
    return this.#inTurn(() => this.#session.changeFile(name, null))
  }

  async close(): Promise<void> {
    assert(this.#database === null, 'the database is closed before its storage')
    await this.#files
    this.#session.close()
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#files.then(run)
    this.#files = result.catch(() => undefined) // Its caller hears of the failure; the next one goes on.
    return result
  }
}
