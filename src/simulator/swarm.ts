/**
 * Fault schedules. Each seed takes a random subset of the fault classes, so that classes which mask each
 * other (a partition hides what a pause would show) also get runs of their own ("swarm testing", Groce et al.
 * 2012), and draws when and where they strike.
 *
 * A schedule is plain data: a run applies it, `shrink.ts` takes parts of it away, a failure prints it.
 */
import { createPrng, type Prng } from '../base/prng.ts'
import { CHANGE_MOMENTS, CHANGE_STEPS, type ChangeMoment, type ChangeStep } from './change-watch.ts'
import { type Cuts, makeCuts, PARTITION_SHAPES, type PartitionShape } from './partition-shape.ts'
import { between, chance, exponential, pick, shuffle } from './sim-random.ts'

/** A peer is away for a while. */
const ABSENCES = ['crash', 'powerLoss', 'restart', 'pause'] as const
type Absence = (typeof ABSENCES)[number]

const SCHEDULED_CLASSES = [
  ...ABSENCES,
  'loss',
  'delay',
  'duplication',
  'reordering',
  'partition',
  'linkBreak',
  'clockJump',
  'slowDisk',
  'diskError',
  'wipe',
  'restore',
] as const
/** `midChange` waits for a step of a change of the ring. */
export const FAULT_CLASSES = [...SCHEDULED_CLASSES, 'midChange'] as const
export type FaultClass = (typeof FAULT_CLASSES)[number]

/** Who has a part in a change of the ring. */
export const CHANGE_ROLES = ['proposer', 'source', 'target', 'acceptor'] as const
export type ChangeRole = (typeof CHANGE_ROLES)[number]
/** `isolate`: from all other peers; `deafen`, `mute`: in one direction. */
const CHANGE_ACTS = ['crash', 'powerLoss', 'pause', 'wipe', 'isolate', 'deafen', 'mute'] as const

interface Timed {
  /** Virtual ms since the faults began. */
  readonly atMs: number
  /** How long it stays; 0 when it is over at once. */
  readonly forMs: number
}

/** Where a network fault strikes: on all paths, on one peer's, on one directed path. */
export type Scope =
  | { readonly kind: 'everywhere' }
  | { readonly kind: 'host'; readonly host: string }
  | { readonly kind: 'path'; readonly from: string; readonly to: string }

export type Fault = Timed &
  (
    | { readonly class: Absence; readonly host: string }
    | {
        readonly class: 'loss' | 'duplication' | 'reordering'
        readonly scope: Scope
        readonly chance: number
      }
    | {
        readonly class: 'delay'
        readonly scope: Scope
        readonly delayMs: readonly [number, number]
        readonly clogMs: number
      }
    | { readonly class: 'partition'; readonly shape: PartitionShape; readonly cuts: Cuts }
    | { readonly class: 'linkBreak' }
    | { readonly class: 'clockJump'; readonly host: string; readonly byMs: number }
    | { readonly class: 'slowDisk'; readonly host: string; readonly times: number }
    /** `chance`: of each write to fail. `keptChance`: that what failed is there all the same. */
    | {
        readonly class: 'diskError'
        readonly host: string
        readonly chance: number
        readonly keptChance: number
      }
    /** `forMs`: how long the peer is down without a disk. */
    | { readonly class: 'wipe'; readonly host: string }
    /** `forMs`: how long the peer goes on after its disk was copied, before it is put back. */
    | { readonly class: 'restore'; readonly host: string }
    /** Strikes the first such step after `atMs`, `waitMs` later. */
    | {
        readonly class: 'midChange'
        readonly step: ChangeStep
        readonly moment: ChangeMoment
        readonly waitMs: number
        readonly role: ChangeRole
        readonly act: (typeof CHANGE_ACTS)[number]
        /** What else is cut then: the change is held up, and the network splits. */
        readonly alsoCuts: Cuts
      }
  )

type Gone = Fault & { readonly class: Absence }

export interface SwarmOptions {
  readonly seed: string | number
  readonly hosts: readonly string[]
  readonly clients: readonly string[]
  /** Faults begin within so long, and most of them end within it. */
  readonly durationMs: number
  /** The ring changes meanwhile: faults strike its steps, too. Default false. */
  readonly ring?: boolean
}

/** A class strikes once in so long, on average. */
const MEAN_INTERVAL_MS: Readonly<Record<FaultClass, number>> = {
  crash: 60_000,
  powerLoss: 60_000,
  restart: 90_000,
  pause: 40_000,
  loss: 60_000,
  delay: 60_000,
  duplication: 60_000,
  reordering: 60_000,
  partition: 45_000,
  linkBreak: 10_000,
  clockJump: 60_000,
  slowDisk: 90_000,
  diskError: 90_000,
  wipe: 120_000,
  restore: 120_000,
  midChange: 15_000,
}

/** How likely a seed is to take a class. */
const CLASS_CHANCE = 0.4
const MID_CHANGE_CHANCE = 0.8
const ALSO_CUT_CHANCE = 0.3

/** Over before anyone notices. */
const SHORT_ABSENCE_MS = 3_000
/** That somebody else goes, that the same one goes again, that a network heals in parts. */
const NEXT_GOES_CHANCE = 0.4
const GOES_AGAIN_CHANCE = 0.4
const HALF_HEALED_CHANCE = 0.25

/** Ordered by time. At least one class strikes at least once when the duration allows it. */
export function createSwarm(options: SwarmOptions): readonly Fault[] {
  const prng = createPrng(options.seed).fork('swarm')
  const chosen = SCHEDULED_CLASSES.filter(() => chance(prng, CLASS_CHANCE))
  const classes = chosen.length > 0 ? chosen : [pick(prng, SCHEDULED_CLASSES)]
  // A stormy seed brings everything more often, a quiet one leaves time for what comes after a fault.
  const storminess = pick(prng, [0.5, 1, 1, 2, 4])
  const faults = classes.flatMap((name) => strikes(name, storminess, options, prng.fork(name)))
  const more = faults.flatMap((fault) => followUps(fault, classes, options, prng))
  return [...faults, ...more, ...strikesOnSteps(options, prng)].sort((a, b) => a.atMs - b.atMs)
}

function strikesOnSteps(options: SwarmOptions, prng: Prng): Fault[] {
  if (options.ring !== true || !chance(prng, MID_CHANGE_CHANCE)) return []
  return strikes('midChange', pick(prng, [0.5, 1, 2]), options, prng.fork('midChange'))
}

function strikes(name: FaultClass, storminess: number, options: SwarmOptions, prng: Prng): Fault[] {
  const meanMs = MEAN_INTERVAL_MS[name] / storminess
  const faults: Fault[] = []
  let atMs = Math.min(exponential(prng, meanMs), options.durationMs * prng.float())
  while (atMs < options.durationMs) {
    faults.push(draw(name, Math.round(atMs), options, prng))
    atMs += exponential(prng, meanMs) + 1
  }
  return faults
}

/** What comes after a fault more often than by chance. @param classes those that the seed took */
function followUps(
  fault: Fault,
  classes: readonly FaultClass[],
  options: SwarmOptions,
  prng: Prng,
): readonly Fault[] {
  switch (fault.class) {
    case 'crash':
    case 'powerLoss':
    case 'restart':
    case 'pause': {
      const absences = ABSENCES.filter((name) => classes.includes(name))
      const breaks = classes.includes('partition') ? returnsInPart(fault, options, prng) : []
      return [...nextGoes(fault, absences, options, prng), ...goesAgain(fault, absences, prng), ...breaks]
    }
    case 'partition':
      return healsInParts(fault, options, prng)
    default:
      return []
  }
}

/**
 * Somebody else goes before the one who is away is back, and stays away beyond that: what was kept for the
 * first may be with the second.
 */
function nextGoes(
  { atMs, forMs, host }: Gone,
  absences: readonly Absence[],
  { hosts }: SwarmOptions,
  prng: Prng,
): readonly Fault[] {
  const others = hosts.filter((other) => other !== host)
  const isNoticed = forMs > SHORT_ABSENCE_MS && others.length > 0
  if (!isNoticed || !chance(prng, NEXT_GOES_CHANCE)) return []
  const waitMs = Math.round(forMs * prng.float())
  const stayMs = forMs - waitMs + lasting(prng, 20_000)
  return [{ class: pick(prng, absences), atMs: atMs + waitMs, forMs: stayMs, host: pick(prng, others) }]
}

/** Who is just back goes again: what its start made good is not settled yet, what it believes not tried. */
function goesAgain({ atMs, forMs, host }: Gone, absences: readonly Absence[], prng: Prng): readonly Fault[] {
  if (!chance(prng, GOES_AGAIN_CHANCE)) return []
  const againMs = atMs + forMs + lasting(prng, 5_000)
  return [drawAbsence(pick(prng, absences), againMs, host, prng)]
}

/** Somebody does not reach the one who is back, whom everybody else does. */
function returnsInPart({ atMs, forMs, host }: Gone, { hosts }: SwarmOptions, prng: Prng): readonly Fault[] {
  const others = hosts.filter((other) => other !== host)
  if (others.length === 0 || !chance(prng, HALF_HEALED_CHANCE)) return []
  const cuts = makeCuts('pair', [host, pick(prng, others)], [], prng)
  return [{ class: 'partition', atMs: atMs + forMs, forMs: lasting(prng, 30_000), shape: 'pair', cuts }]
}

/** Two may not reach each other for a while after everybody else does. */
function healsInParts(
  { atMs, forMs, cuts }: Fault & { readonly class: 'partition' },
  { hosts }: SwarmOptions,
  prng: Prng,
): readonly Fault[] {
  if (!chance(prng, HALF_HEALED_CHANCE)) return []
  const ofPeers = cuts.filter((cut) => cut.every((host) => hosts.includes(host)))
  const pair = pick(prng, ofPeers)
  const left = ofPeers.filter((cut) => cut.every((host) => pair.includes(host)))
  return [{ class: 'partition', atMs: atMs + forMs, forMs: lasting(prng, 30_000), shape: 'pair', cuts: left }]
}

function draw(name: FaultClass, atMs: number, { hosts, clients }: SwarmOptions, prng: Prng): Fault {
  const host = pick(prng, hosts)
  switch (name) {
    case 'crash':
    case 'powerLoss':
    case 'restart':
    case 'pause':
      return drawAbsence(name, atMs, host, prng)
    case 'loss':
    case 'duplication':
    case 'reordering': {
      const most = name === 'loss' ? 0.3 : 0.5
      return {
        class: name,
        atMs,
        forMs: lasting(prng, 15_000),
        scope: drawScope(hosts, prng),
        chance: between(prng, 0.01, most),
      }
    }
    case 'delay': {
      const delayMs: [number, number] = [Math.round(between(prng, 0, 30)), Math.round(between(prng, 30, 100))]
      const clogMs = chance(prng, 0.5) ? Math.round(between(prng, 500, 8_000)) : 0
      return {
        class: name,
        atMs,
        forMs: lasting(prng, 20_000),
        scope: drawScope(hosts, prng),
        delayMs,
        clogMs,
      }
    }
    case 'partition': {
      const shape = pick(prng, PARTITION_SHAPES)
      const forMs = lasting(prng, pick(prng, [1_000, 10_000, 25_000]))
      return { class: name, atMs, forMs, shape, cuts: makeCuts(shape, hosts, clients, prng) }
    }
    case 'linkBreak':
      return { class: name, atMs, forMs: 0 }
    case 'clockJump': {
      const byMs = Math.round(between(prng, -1, 1) * pick(prng, [500, 20_000, 300_000]))
      return { class: name, atMs, forMs: 0, host, byMs }
    }
    case 'slowDisk':
      return {
        class: name,
        atMs,
        forMs: lasting(prng, 20_000),
        host,
        times: Math.round(between(prng, 10, 200)),
      }
    case 'diskError': {
      const [chanceOfFailure, keptChance] = [between(prng, 0.01, 0.3), prng.float()]
      return { class: name, atMs, forMs: lasting(prng, 5_000), host, chance: chanceOfFailure, keptChance }
    }
    case 'wipe':
      return { class: name, atMs, forMs: lasting(prng, chance(prng, 0.5) ? 300 : 15_000), host }
    case 'restore':
      return { class: name, atMs, forMs: lasting(prng, 20_000), host }
    case 'midChange':
      return drawMidChange(atMs, hosts, clients, prng)
  }
}

/** At once, while the step spreads, or amid the work that it begins. */
function drawMidChange(
  atMs: number,
  hosts: readonly string[],
  clients: readonly string[],
  prng: Prng,
): Fault {
  const shape = pick(prng, PARTITION_SHAPES)
  return {
    class: 'midChange',
    atMs,
    forMs: lasting(prng, pick(prng, [300, 4_000, 12_000])),
    step: pick(prng, CHANGE_STEPS),
    moment: pick(prng, CHANGE_MOMENTS),
    waitMs: pick(prng, [0, lasting(prng, 20), lasting(prng, 300)]),
    role: pick(prng, CHANGE_ROLES),
    act: pick(prng, CHANGE_ACTS),
    alsoCuts: chance(prng, ALSO_CUT_CHANCE) ? makeCuts(shape, hosts, clients, prng) : [],
  }
}

/** A short absence is over before anyone notices, a long one is answered by a verdict. */
function drawAbsence(name: Absence, atMs: number, host: string, prng: Prng): Gone {
  const meanMs = pick(prng, name === 'pause' ? [200, 1_000, 8_000] : [300, 15_000])
  return { class: name, atMs, forMs: lasting(prng, meanMs), host }
}

function lasting(prng: Prng, meanMs: number): number {
  return Math.round(Math.min(exponential(prng, meanMs), 4 * meanMs)) + 1
}

function drawScope(hosts: readonly string[], prng: Prng): Scope {
  const [from, to] = shuffle(prng, hosts)
  switch (prng.int(3)) {
    case 0:
      return { kind: 'host', host: from as string }
    case 1:
      if (to !== undefined) return { kind: 'path', from: from as string, to }
  }
  return { kind: 'everywhere' }
}
