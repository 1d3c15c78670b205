/**
 * One peer's directory: an ordered database, and a few small files with stronger promises. Held by one
 * process at a time.
 */
import type { AbstractLevel } from 'abstract-level'
import type { Bytes } from '../base/bytes.ts'

/**
 * Binary keys and values. `{ sync: true }` on a batch: on disk, through a power cut, when its promise
 * fulfils.
 */
export type Database = AbstractLevel<Uint8Array, Uint8Array, Uint8Array>

export interface Storage {
  /** For messages: the directory's path. */
  readonly name: string
  /**
   * Opens the database, made when missing, but no other one in place of one that was open; a second call
   * before `close` is a bug. @throws INTERNAL
   */
  openDatabase(): Promise<Database>
  /**
   * Whether the directory still is the one that was opened: the system lets what was deleted or replaced be
   * written to as if nothing had happened. Cheap: a look at two names. @throws INTERNAL, with what to do
   */
  checkPlace(): Promise<void>
  /** What an error of the open database means, with what to do; one that is none of its own, as it is. */
  explain(error: unknown): unknown
  /**
   * Gives back the space of what was deleted in a range of the open database's keys, part by part; a close
   * waits for the part that is under way. The database serves meanwhile.
   * @param goOn asked between two parts; false: no more. @throws INTERNAL
   */
  reclaim(gte: Bytes, lt: Bytes, goOn: () => Promise<boolean>): Promise<void>
  /** A small file's bytes, or null when there is none. @throws INTERNAL */
  readFile(name: string): Promise<Bytes | null>
  /**
   * Replaces a small file, all or nothing, on disk when the promise fulfils (temporary file, fsync, rename,
   * fsync of the directory). Not into another directory than the one that was opened.
   * @throws INTERNAL
   */
  writeFile(name: string, bytes: Bytes): Promise<void>
  /** On disk when the promise fulfils; no error when there is none. */
  removeFile(name: string): Promise<void>
  /** Lets go of the directory; the database must be closed. Idempotent. */
  close(): Promise<void>
}
