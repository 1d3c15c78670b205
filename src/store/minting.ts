/** A put at the store that mints its dot: the new record and its bytes. */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import { covers, putValue } from '../protocol/dvv.ts'
import {
  type Dot,
  type DotSet,
  type DottedValue,
  type KeyRecord,
  MAX_PUT_RECORD_BYTES,
} from '../protocol/record.ts'
import { nextTimestamp } from '../protocol/timestamp.ts'
import type { Actor } from './actor.ts'
import { encodeSeeded, RecordOverflow } from './record-codec.ts'
import { seenUpTo } from './record-merge.ts'

/** A value before it has a dot and a timestamp. */
export type NewValue = Omit<DottedValue, 'dot' | 'timestamp'>

export interface Minted {
  readonly dot: Dot
  /** What the key's record is with it: for the other owners. */
  readonly record: Bytes
  /** The same, decoded. */
  readonly whole: KeyRecord
}

/**
 * Null when the dot was seen before it was minted: a copy of this store, or its future, is at work under this
 * name.
 */
export function mintDot(actor: Actor, context: DotSet, held: KeyRecord | null): Dot | null {
  const dot = actor.mint()
  const known = Math.max(seenUpTo(context, dot.actor), held === null ? 0 : seenUpTo(held.seen, dot.actor))
  return known < dot.n ? dot : null
}

/**
 * @param heldBytes of `held`: a put that leaves no more than was there is taken, however much it is
 * @throws TOO_LARGE with all its siblings
 */
export function putUnder(
  dot: Dot,
  keyHash: number,
  held: KeyRecord | null,
  heldBytes: number,
  context: DotSet,
  value: NewValue,
  nowMs: number,
): Minted {
  const timestamp = nextTimestamp(nowMs, supersededTimestamp(held, context))
  const { value: bytes, contentType, writeId, expiresAtMs } = value
  const whole = putValue(held, context, { dot, value: bytes, contentType, writeId, timestamp, expiresAtMs })
  return { dot, record: encodeForPut(keyHash, whole, heldBytes), whole }
}

/** The greatest timestamp among the values that a put replaces; 0: it replaces none. */
function supersededTimestamp(held: KeyRecord | null, context: DotSet): number {
  let greatest = 0
  for (const { dot, timestamp } of held?.values ?? []) {
    if (timestamp > greatest && covers(context, dot)) greatest = timestamp
  }
  return greatest
}

function encodeForPut(keyHash: number, record: KeyRecord, heldBytes: number): Bytes {
  try {
    const bytes = encodeSeeded(keyHash, record)
    if (bytes.length <= Math.max(MAX_PUT_RECORD_BYTES, heldBytes)) return bytes
  } catch (error) {
    if (!(error instanceof RecordOverflow)) throw error
  }
  const advice = 'get the key again and put with the context that returns, or put without a context'
  throw new KvError(
    'TOO_LARGE',
    `nothing was written: with all its siblings the key would be too large; ${advice}`,
  )
}
