/// <reference path="./functional-red-black-tree.d.ts" preserve="true" />
/**
 * The simulated database: abstract-level's interface over a persistent red-black tree, where a root is a
 * whole state. So a snapshot, an iterator and what a crash leaves are all just roots. It has no timers of its
 * own: writes go to a `SimWrites`, which decides in virtual time when they are done.
 */
import { AbstractIterator, AbstractLevel, AbstractSnapshot } from 'abstract-level'
import createTree, { type Tree, type TreeIterator } from 'functional-red-black-tree'
import { type Bytes, compareBytes, copyBytes } from '../base/bytes.ts'

export type SimTree = Tree<Bytes, Bytes>

export type SimOperation =
  | { readonly type: 'put'; readonly key: Bytes; readonly value: Bytes }
  | { readonly type: 'del'; readonly key: Bytes }

/** The log behind a database. */
export interface SimWrites {
  /** What reads see now. */
  readonly visible: SimTree
  /** Settles when the operations are visible; with `sync`, durable too. */
  write(operations: readonly SimOperation[], sync: boolean): Promise<void>
  /** Settles when everything written before is done. */
  drained(): Promise<void>
  /** @throws when it lies where the disk cannot be read */
  checkReadable(key: Bytes, value: Bytes | null): void
  /** @throws when the process that opened it is no more */
  assertAlive(): void
}

export const EMPTY_TREE: SimTree = createTree<Bytes, Bytes>(compareBytes)

export function applyOperations(tree: SimTree, operations: readonly SimOperation[]): SimTree {
  let result = tree
  for (const operation of operations) {
    const place = result.find(operation.key)
    if (operation.type === 'del') result = place.valid ? place.remove() : result
    else if (place.valid) result = place.update(operation.value)
    else result = result.insert(operation.key, operation.value)
  }
  return result
}

interface ReadOptions {
  readonly snapshot?: SimSnapshot
}

interface Range extends ReadOptions {
  readonly gt?: Bytes
  readonly gte?: Bytes
  readonly lt?: Bytes
  readonly lte?: Bytes
  readonly reverse: boolean
  readonly limit: number
}

interface IteratorOptions extends Range {
  readonly keys: boolean
  readonly values: boolean
}

export class SimDatabase extends AbstractLevel<Bytes, Bytes, Bytes> {
  readonly #writes: SimWrites
  readonly #closed: () => void

  /** @param closed called once the database is closed */
  constructor(writes: SimWrites, closed: () => void, options: object = VIEWS) {
    super(MANIFEST, options)
    this.#writes = writes
    this.#closed = closed
  }

  /** What reads with these options see. For this file's iterators. */
  treeFor(options: ReadOptions): SimTree {
    this.#writes.assertAlive()
    return options.snapshot?.tree ?? this.#writes.visible
  }

  async _close(): Promise<void> {
    await this.#writes.drained()
    this.#closed()
  }

  async _get(key: Bytes, options: ReadOptions): Promise<Bytes | undefined> {
    return this._getSync(key, options)
  }

  _getSync(key: Bytes, options: ReadOptions): Bytes | undefined {
    const value = this.treeFor(options).get(key)
    if (value !== undefined) this.checkReadable(key, value)
    return value
  }

  /** For this file's iterators. @param value null: any of that key */
  checkReadable(key: Bytes, value: Bytes | null): void {
    this.#writes.checkReadable(key, value)
  }

  async _getMany(keys: readonly Bytes[], options: ReadOptions): Promise<(Bytes | undefined)[]> {
    return keys.map((key) => this._getSync(key, options))
  }

  async _has(key: Bytes, options: ReadOptions): Promise<boolean> {
    return this.treeFor(options).get(key) !== undefined
  }

  async _hasMany(keys: readonly Bytes[], options: ReadOptions): Promise<boolean[]> {
    const tree = this.treeFor(options)
    return keys.map((key) => tree.get(key) !== undefined)
  }

  async _put(key: Bytes, value: Bytes, options: { sync?: boolean }): Promise<void> {
    const operations = ownOperations([{ type: 'put', key, value }])
    return this.#writes.write(operations, options.sync === true)
  }

  async _del(key: Bytes, options: { sync?: boolean }): Promise<void> {
    return this.#writes.write(ownOperations([{ type: 'del', key }]), options.sync === true)
  }

  async _batch(operations: readonly SimOperation[], options: { sync?: boolean }): Promise<void> {
    return this.#writes.write(ownOperations(operations), options.sync === true)
  }

  async _clear(options: Range): Promise<void> {
    const cursor = new Cursor(this.treeFor(options), options)
    const operations: SimOperation[] = []
    while (cursor.valid && (options.limit < 0 || operations.length < options.limit)) {
      operations.push({ type: 'del', key: cursor.key })
      cursor.advance()
    }
    return this.#writes.write(operations, false)
  }

  _snapshot(options: object): SimSnapshot {
    return new SimSnapshot(this.treeFor({}), options)
  }

  _iterator(options: IteratorOptions): SimIterator {
    return new SimIterator(this, options)
  }
}

/**
 * What is kept, and given to every reader as it is: nobody may change it, and who did would change the disk,
 * which the checks would find. As a real database gives them, which are `Buffer`s, its `slice` is no copy.
 */
function kept(bytes: Bytes): Bytes {
  return Object.defineProperty(copyBytes(bytes), 'slice', SHARING_SLICE)
}

const SHARING_SLICE = { value: Uint8Array.prototype.subarray }

const VIEWS = { keyEncoding: 'view', valueEncoding: 'view' }

const MANIFEST = {
  encodings: { view: true },
  has: true,
  getSync: true,
  explicitSnapshots: true,
  createIfMissing: false,
  errorIfExists: false,
}

class SimSnapshot extends AbstractSnapshot {
  readonly tree: SimTree

  constructor(tree: SimTree, options: object) {
    // abstract-level's types leave out that subclasses hand the options on.
    super(...([options] as unknown as []))
    this.tree = tree
  }
}

type SimEntry = [Bytes | undefined, Bytes | undefined]

class SimIterator extends AbstractIterator<SimDatabase, Bytes, Bytes> {
  readonly #options: IteratorOptions
  readonly #tree: SimTree
  #cursor: Cursor

  constructor(database: SimDatabase, options: IteratorOptions) {
    super(database, options)
    this.#options = options
    this.#tree = database.treeFor(options)
    this.#cursor = new Cursor(this.#tree, options)
  }

  async _next(): Promise<SimEntry | undefined> {
    return this.#take()
  }

  /** As the inherited one, without a promise for each entry. */
  async _nextv(size: number): Promise<SimEntry[]> {
    const entries: SimEntry[] = []
    while (entries.length < size) {
      const entry = this.#take()
      if (entry === undefined) break
      entries.push(entry)
    }
    return entries
  }

  _seek(target: Bytes): void {
    this.#cursor = new Cursor(this.#tree, this.#options)
    this.#cursor.seek(target)
  }

  #take(): SimEntry | undefined {
    if (!this.#cursor.valid) return undefined
    const { keys, values } = this.#options
    this.db.checkReadable(this.#cursor.key, null)
    const entry: SimEntry = [keys ? this.#cursor.key : undefined, values ? this.#cursor.value : undefined]
    this.#cursor.advance()
    return entry
  }
}

/** A place in a range of a tree, moving in the range's direction. */
class Cursor {
  readonly #tree: SimTree
  readonly #range: Range
  #place: TreeIterator<Bytes, Bytes>

  constructor(tree: SimTree, range: Range) {
    this.#tree = tree
    this.#range = range
    this.#place = range.reverse ? lastOf(tree, range) : firstOf(tree, range)
  }

  get valid(): boolean {
    return this.#place.valid && this.#holds(this.key)
  }

  get key(): Bytes {
    return this.#place.key as Bytes
  }

  get value(): Bytes {
    return this.#place.value as Bytes
  }

  advance(): void {
    if (this.#range.reverse) this.#place.prev()
    else this.#place.next()
  }

  /**
   * To the first entry at or after `target` in the range's direction; past the end when the target is outside
   * the range.
   */
  seek(target: Bytes): void {
    const inside = this.#holds(target)
    if (inside) this.#place = this.#range.reverse ? this.#tree.le(target) : this.#tree.ge(target)
    else this.#place = this.#tree.gt(this.#tree.end.key ?? target)
  }

  #holds(key: Bytes): boolean {
    const { gt, gte, lt, lte } = this.#range
    if (gte !== undefined) {
      if (compareBytes(key, gte) < 0) return false
    } else if (gt !== undefined && compareBytes(key, gt) <= 0) return false
    if (lte !== undefined) return compareBytes(key, lte) <= 0
    return lt === undefined || compareBytes(key, lt) < 0
  }
}

function firstOf(tree: SimTree, { gt, gte }: Range): TreeIterator<Bytes, Bytes> {
  if (gte !== undefined) return tree.ge(gte)
  return gt !== undefined ? tree.gt(gt) : tree.begin
}

function lastOf(tree: SimTree, { lt, lte }: Range): TreeIterator<Bytes, Bytes> {
  if (lte !== undefined) return tree.le(lte)
  return lt !== undefined ? tree.lt(lt) : tree.end
}

/** The caller may reuse its buffers once the write is under way. */
function ownOperations(operations: readonly SimOperation[]): SimOperation[] {
  return operations.map((operation) =>
    operation.type === 'del'
      ? { type: 'del', key: kept(operation.key) }
      : { type: 'put', key: kept(operation.key), value: kept(operation.value) },
  )
}
