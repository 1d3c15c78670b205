/**
 * Invariant 2, as records tell it: a value leaves a record only because a write replaced it, or by a purge.
 * Also a value that nobody sees any more, because it is a tombstone, has expired, or is not the newest one:
 * what hides it is a view, and another peer may see it otherwise.
 *
 * Of each value that a disk held for good and then does not, though it has seen its dot, some write of the
 * key must have begun before that covers it, or may cover it: one whose outcome is unknown may have found
 * anything. While such a one is under way the verdict waits.
 */
import type { ActorId } from '../../base/ids.ts'
import { covers } from '../../protocol/dvv.ts'
import type { Dot, DottedValue } from '../../protocol/record.ts'
import { type HistoryObserver, type Place, placeOf, type WriteOperation } from '../history.ts'
import type { DotLedger } from './dot-ledger.ts'
import { mayHaveReplaced } from './replacement.ts'
import type { StoredRecord } from './stored-record.ts'
import { Violation } from './violation.ts'

export interface DepartureChecker extends HistoryObserver {
  /** A record is durable on a host's disk. */
  durable(host: string, place: Place, stored: StoredRecord): void
  /** A record is durably gone from a host. */
  letGo(host: string, place: Place, isStandIn: boolean): void
  /** A host's disk is another one: only what is told from here on is on it. */
  replaced(host: string): void
  /** Looks at what has left since. Call it now and then. @throws Violation */
  judge(): void
}

interface Departure {
  readonly host: string
  readonly place: Place
  readonly value: DottedValue
  readonly atMs: number
}

/** What a disk holds for good of each key. */
interface HostRecords {
  readonly own: Map<Place, readonly DottedValue[]>
  readonly kept: Map<Place, readonly DottedValue[]>
}

/** @param isStripped a value that went in a purge. @param now virtual ms */
export function createDepartureChecker(
  ledger: DotLedger,
  isStripped: (place: Place, dot: Dot) => boolean,
  now: () => number,
): DepartureChecker {
  const writes = new Map<Place, WriteOperation[]>()
  const records = new Map<string, HostRecords>()
  /** Whatever has left a record once: one verdict is enough. By actor, which counts through all keys. */
  const known = new Map<ActorId, Set<number>>()
  let open: Departure[] = []

  const note = (host: string, place: Place, value: DottedValue): void => {
    const { actor, n } = value.dot
    let counts = known.get(actor)
    if (counts === undefined) {
      counts = new Set()
      known.set(actor, counts)
    }
    if (counts.has(n)) return
    counts.add(n)
    open.push({ host, place, value, atMs: now() })
  }

  /** Whether it was right; null: not known yet. The newest writes are the likeliest to have replaced it. */
  const verdict = ({ place, value, atMs }: Departure): boolean | null => {
    if (isStripped(place, value.dot)) return true
    const ofKey = writes.get(place) ?? []
    let mayChange = false
    for (let i = ofKey.length - 1; i >= 0; i--) {
      const write = ofKey[i] as WriteOperation
      if (write.startMs > atMs) continue
      const isOpen = write.outcome === 'pending' && write.context === null
      if (!isOpen && mayHaveReplaced(write, [value.dot], ledger)) return true
      mayChange ||= isOpen
    }
    return mayChange ? null : false
  }

  return {
    writeStarted(write) {
      const place = placeOf(write.keyspace.name, write.key)
      const ofKey = writes.get(place)
      if (ofKey === undefined) writes.set(place, [write])
      else ofKey.push(write)
    },
    durable(host, place, { record, isStandIn }) {
      let ofHost = records.get(host)
      if (ofHost === undefined) {
        ofHost = { own: new Map(), kept: new Map() }
        records.set(host, ofHost)
      }
      const held = isStandIn ? ofHost.kept : ofHost.own
      const before = held.get(place)
      held.set(place, record.values)
      // Without values it is what a purge leaves, and looked at as such.
      if (before === undefined || record.values.length === 0) return
      for (const value of before) {
        const stays = record.values.some((other) => isTwin(other, value))
        if (!stays && covers(record.seen, value.dot)) note(host, place, value)
      }
    },
    letGo(host, place, isStandIn) {
      const ofHost = records.get(host)
      if (isStandIn) ofHost?.kept.delete(place)
      else ofHost?.own.delete(place)
    },
    replaced(host) {
      records.delete(host)
    },
    judge() {
      open = open.filter((departure) => {
        const isRight = verdict(departure)
        if (isRight === false) throw new Violation(2, describe(departure))
        return isRight === null
      })
    },
  }
}

/** The same write: a coordinator that has to change its name stores it once more, in place of its first. */
function isTwin(a: DottedValue, b: DottedValue): boolean {
  return (a.dot.n === b.dot.n && a.dot.actor === b.dot.actor) || a.writeId === b.writeId
}

function describe({ host, place, value, atMs }: Departure): string {
  const what = value.value === null ? 'a tombstone' : 'a value'
  const expiry = value.expiresAtMs === null ? '' : ' that was to expire'
  const dot = `${value.dot.actor.slice(0, 6)}.${value.dot.n}`
  const where = `${place} on ${host} at ${atMs.toFixed(1)} ms`
  return `${what}${expiry} (${dot}) left ${where}, and no write replaced it`
}
