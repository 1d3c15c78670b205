/** What a campaign and its worker processes say to each other. */
import type { ScenarioReport } from '../../src/simulator/scenario.ts'

export interface RunSettings {
  readonly peers: number
  readonly minutes: number
  /** Peers also join, leave, and are removed. */
  readonly ring: boolean
  readonly keep: readonly number[] | null
}

export type Order =
  | { readonly type: 'run'; readonly seed: number; readonly settings: RunSettings; readonly log: boolean }
  | {
      readonly type: 'shrink'
      readonly seed: number
      readonly settings: RunSettings
      readonly failedAtMs: number
      readonly scheduleLength: number
      readonly limitMs: number
    }

export type Result =
  | { readonly type: 'ran'; readonly report: ScenarioReport /** Of one core. */; readonly cpuMs: number }
  | {
      readonly type: 'shrunk'
      readonly seed: number
      readonly keep: readonly number[]
      readonly isMinimal: boolean
    }
