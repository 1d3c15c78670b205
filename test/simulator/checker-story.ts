/** What tests of checkers tell them: dots, records on disks, and little histories. */
import * as assert from 'uvu/assert'
import { utf8 } from '../../src/base/bytes.ts'
import type { ActorId, KeyspaceId } from '../../src/base/ids.ts'
import { parseActorId } from '../../src/base/ids.ts'
import { covers, EMPTY_DOTS } from '../../src/protocol/dvv.ts'
import type { Dot, DotSet, DottedValue } from '../../src/protocol/record.ts'
import { createDotLedger } from '../../src/simulator/checker/dot-ledger.ts'
import type { StoredRecord } from '../../src/simulator/checker/stored-record.ts'
import { Violation } from '../../src/simulator/checker/violation.ts'
import { createVisibilityChecker } from '../../src/simulator/checker/visibility.ts'
import type { KeyspaceFacts, ReadOperation, WriteOperation } from '../../src/simulator/history.ts'

export const ACTOR = parseActorId('00000000000000aa')
export const OTHER = parseActorId('00000000000000bb')
const STRICT = { isSloppy: false, owners: 3, copiesVary: false }
export const SIBLINGS: KeyspaceFacts = { name: 'siblings', conflicts: 'siblings', ...STRICT }
export const LWW: KeyspaceFacts = { name: 'lww', conflicts: 'lww', ...STRICT }

export function dot(n: number, actor: ActorId = ACTOR): Dot {
  return { actor, n }
}

/** All dots of ACTOR up to n. */
export function upTo(n: number): DotSet {
  return { vector: new Map([[ACTOR, n]]), loose: [] }
}

export function only(...loose: Dot[]): DotSet {
  return { vector: new Map(), loose }
}

export function stored(
  at: Dot,
  value: string | null,
  more: Partial<DottedValue> = {},
  key = 'k',
): StoredRecord {
  const dotted: DottedValue = {
    dot: at,
    value: value === null ? null : utf8(value),
    contentType: null,
    writeId: `id-${value}`,
    timestamp: at.n,
    expiresAtMs: null,
    ...more,
  }
  const record = { seen: { vector: new Map([[at.actor, at.n]]), loose: [] }, values: [dotted] }
  return { keyspaceId: 1 as KeyspaceId, key: utf8(key), record, isStandIn: false, standInFor: [] }
}

/** Of a tombstone that replaced what the first dots were of. */
export function bare(n: number): StoredRecord {
  const { record, ...rest } = stored(dot(n), null)
  return { ...rest, record: { ...record, values: [] } }
}

/** A little history on one key, told step by step; every write's value is on a disk under the dots named. */
export class Story {
  readonly ledger = createDotLedger()
  /** What nobody needs to know of the key any more; all its values went in purges. */
  purged: DotSet = EMPTY_DOTS
  /** Of its deletes, whose dots' numbers are their timestamps. */
  newestMortal = 0
  readonly checker = createVisibilityChecker(this.ledger, {
    purged: () => this.purged,
    isStripped: (_, at) => covers(this.purged, at),
    newestMortal: () => this.newestMortal,
  })
  readonly #keyspace: KeyspaceFacts
  #nowMs = 0

  constructor(keyspace: KeyspaceFacts = SIBLINGS) {
    this.#keyspace = keyspace
  }

  begin(value: string | null, dots: readonly Dot[], context: DotSet | null = null, w = 2): WriteOperation {
    const write: WriteOperation = {
      index: this.#nowMs,
      client: 0,
      keyspace: this.#keyspace,
      key: 'k',
      startMs: this.#nowMs++,
      value,
      expires: false,
      context,
      level: w,
      w,
      outcome: 'pending',
      code: null,
      endMs: null,
      reply: null,
      disksTold: w,
      standInsTold: 0,
    }
    for (const each of dots) {
      this.ledger.record('host', stored(each, value))
      if (value === null) this.newestMortal = Math.max(this.newestMortal, each.n)
    }
    this.checker.writeStarted?.(write)
    return write
  }

  end(write: WriteOperation, reply: DotSet | null): void {
    write.outcome = reply === null ? 'unknown' : 'ok'
    write.reply = reply
    write.endMs = this.#nowMs++
    this.checker.writeEnded?.(write)
  }

  /** A write and its acknowledgement. */
  put(value: string | null, at: Dot, reply: DotSet, context: DotSet | null = null, w = 2): void {
    this.end(this.begin(value, [at], context, w), reply)
  }

  beginRead(r = 2, isBound = true): ReadOperation {
    const read: ReadOperation = {
      index: this.#nowMs,
      client: 0,
      keyspace: this.#keyspace,
      key: 'k',
      startMs: this.#nowMs++,
      r,
      isBound,
      endMs: null,
      values: null,
      seen: null,
    }
    this.checker.readStarted?.(read)
    return read
  }

  endRead(read: ReadOperation, values: readonly string[], seen: DotSet): void {
    read.values = values
    read.seen = seen
    read.endMs = this.#nowMs++
    this.checker.readEnded?.(read)
  }

  read(values: readonly string[], seen: DotSet, r = 2): void {
    this.endRead(this.beginRead(r), values, seen)
  }
}

export function violates(run: () => void, invariant: number, message: RegExp): void {
  try {
    run()
  } catch (error) {
    assert.instance(error, Violation)
    assert.is((error as Violation).invariant, invariant)
    assert.match((error as Violation).message, message)
    return
  }
  assert.unreachable('nothing was found')
}
