/**
 * Records that can exist: made by puts at stores that mint under their own actor, and by merges between them.
 */
import fc from 'fast-check'
import { utf8 } from '../../src/base/bytes.ts'
import type { ActorId } from '../../src/base/ids.ts'
import { EMPTY_DOTS, mergeRecords, putValue, withDot } from '../../src/protocol/dvv.ts'
import type { DotSet, DottedValue, KeyRecord } from '../../src/protocol/record.ts'

export const ACTORS = ['a', 'b', 'c'].map((letter) => letter.repeat(16) as ActorId)

export function makeValue(actor: ActorId, n: number, text = `${actor[0]}${n}`): DottedValue {
  return {
    dot: { actor, n },
    value: utf8(text),
    contentType: null,
    writeId: `w-${actor[0]}${n}`,
    timestamp: n * 1024,
    expiresAtMs: null,
  }
}

/** One step in the life of one key on three stores. */
export type Step =
  | { readonly type: 'put'; readonly store: number; readonly contextFrom: number; readonly isDelete: boolean }
  /** A writer who goes on from what his own last write at a store returned. */
  | { readonly type: 'putOwn'; readonly store: number; readonly session: number }
  | { readonly type: 'merge'; readonly from: number; readonly to: number }

const store = fc.nat({ max: 2 })
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      type: fc.constant('put' as const),
      store,
      contextFrom: fc.integer({ min: -1, max: 2 }),
      isDelete: fc.boolean(),
    }),
    fc.record({ type: fc.constant('putOwn' as const), store, session: store }),
    fc.record({ type: fc.constant('merge' as const), from: store, to: store }),
  ),
  { maxLength: 24 },
)

export interface World {
  readonly records: (KeyRecord | null)[]
  /** Every write, and the context it replaced. */
  readonly writes: { readonly value: DottedValue; readonly context: DotSet }[]
}

/** Runs the steps; `observe` sees each put: before, context, value, after. */
export function live(
  history: readonly Step[],
  observe: (
    before: KeyRecord | null,
    context: DotSet,
    value: DottedValue,
    after: KeyRecord,
  ) => void = () => {},
): World {
  const world: World = { records: [null, null, null], writes: [] }
  const counters = [0, 0, 0]
  const sessions: DotSet[] = [EMPTY_DOTS, EMPTY_DOTS, EMPTY_DOTS]
  const put = (at: number, context: DotSet, isDelete: boolean): DottedValue => {
    // Other keys take numbers in between.
    counters[at] = (counters[at] as number) + 1 + (world.writes.length % 3)
    const made = makeValue(ACTORS[at] as ActorId, counters[at] as number)
    const value = isDelete ? { ...made, value: null } : made
    const before = world.records[at] ?? null
    const after = putValue(before, context, value)
    observe(before, context, value, after)
    world.records[at] = after
    world.writes.push({ value, context })
    return value
  }
  for (const step of history) {
    if (step.type === 'put') {
      put(step.store, world.records[step.contextFrom]?.seen ?? EMPTY_DOTS, step.isDelete)
    } else if (step.type === 'putOwn') {
      const context = sessions[step.session] as DotSet
      sessions[step.session] = withDot(context, put(step.store, context, false).dot)
    } else {
      const from = world.records[step.from] ?? null
      const to = world.records[step.to] ?? null
      if (from !== null) world.records[step.to] = to === null ? from : mergeRecords(to, from)
    }
  }
  return world
}
