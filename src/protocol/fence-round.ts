/**
 * What the answers to a fence's questions come to (`purge.ts`). Pure: `coordinator/fence-keeper.ts` asks.
 */
import type { NodeId } from '../base/ids.ts'
import type { Era, LifeOf } from './eras.ts'

/** What a member says about itself, at each step. */
export interface FenceAnswer {
  /** Names its life. */
  readonly nonce: string
  readonly generation: number
  readonly era: Era
  /** It did what was asked of it. */
  readonly agrees: boolean
  /** Stand-in records it keeps. */
  readonly kept: number
  /** How often it took one in, in this life. */
  readonly taken: number
  /** It may hold records of partitions that it owns no more. */
  readonly hasLeftovers: boolean
  /** Work of eras before the one asked about. */
  readonly unfinished: number
}

export type FenceAnswers = ReadonlyMap<NodeId, FenceAnswer>

/** Eras past this are not proposed: numbers stay exact. */
export const MAX_ERA = 2 ** 48

export type Survey = { readonly era: Era; readonly lives: readonly LifeOf[] } | { readonly obstacle: string }

/** The era to enter, or why there is none. */
export function surveyed(answers: FenceAnswers): Survey {
  let highest: Era = 0
  const lives: LifeOf[] = []
  for (const [nodeId, { kept, era, generation, hasLeftovers }] of answers) {
    if (hasLeftovers) return { obstacle: `peer ${nodeId} has not dropped yet what it owns no more` }
    if (kept > 0) {
      const advice = "'kvctl hints' says for whom: these must be up, and take them"
      return { obstacle: `peer ${nodeId} keeps ${kept} records for others; ${advice}` }
    }
    highest = Math.max(highest, era)
    lives.push({ nodeId, generation })
  }
  return highest < MAX_ERA ? { era: highest + 1, lives } : { obstacle: 'there are no eras left' }
}

/** Why the fence is not complete; null: it is. */
export function closed(survey: FenceAnswers, answers: FenceAnswers): string | null {
  for (const [nodeId, before] of survey) {
    const after = answers.get(nodeId)
    if (after === undefined || !after.agrees) return `peer ${nodeId} did not close the era`
    if (after.nonce !== before.nonce) return `peer ${nodeId} was restarted meanwhile`
    if (after.kept > 0 || after.taken !== before.taken) return `peer ${nodeId} kept a record for others`
  }
  return null
}
