/**
 * Drives the open change of the ring, one step after the other: begin, switch, finish. The alive member with
 * the lowest nodeId does it; when it dies the next one goes on from whatever is decided. That two may think
 * it is their turn is no danger, only a detour: the Synod decides, and every step is proposed on the ground
 * of acknowledgements of exactly the number before.
 *
 * What has to be true before each step is in `protocol/ring-change.ts`; whether it is, every member says of
 * itself with its acknowledgement.
 */
import { unreachable } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { NodeId } from '../base/ids.ts'
import type { Clock, Timer } from '../effects/clock.ts'
import type { Log } from '../effects/log.ts'
import { type Configuration, MAX_MEMBERS, type Member, targetLayout } from '../protocol/configuration.ts'
import { begin, checkJoin, exclude, finish, retarget, switchOver } from '../protocol/configuration-change.ts'
import { createRing } from '../protocol/ring.ts'
import { isRetargetDue, membersWaitedFor } from '../protocol/ring-change.ts'
import type { Decided } from './configuration-adoption.ts'
import { apply, type Decision } from './configuration-decision.ts'
import type { ConfigurationTiming, PeerView } from './configuration-rpc.ts'
import type { Ack, ConfigurationSpread } from './configuration-spread.ts'
import type { LossCheck, OnLoss } from './loss-check.ts'

/** Peers that wait to join; the others ask again later. */
const MAX_JOINING = 1024
/** A peer that asked to join and did not ask again for this many retry intervals has gone away. */
const FORGET_JOIN_RETRIES = 12
/** What the driver told is repeated while it holds; after this many retry intervals it holds no more. */
const FORGET_OBSTACLE_RETRIES = 12
/** How long one proposal is pursued before the situation is looked at anew, in retry intervals. */
const PROPOSAL_RETRIES = 10
/** Until a change that waits for something is looked at again, at first; then after twice as long… */
const FIRST_HELD_RETRY_MS = 10
const MAX_REASONS = 3

export interface RingChangeParts {
  readonly self: NodeId
  readonly clock: Clock
  readonly log: Log
  readonly timing: ConfigurationTiming
  readonly peers: PeerView
  readonly spread: ConfigurationSpread
  readonly losses: LossCheck
  current(): Decided | null
  /** Gets it decided, or something else; adopts and spreads that. */
  decide(base: Decided, next: Configuration, timeoutMs: number): Promise<Decision>
  pause(ms: number): Promise<void>
}

interface Joining {
  readonly member: Member
  /** The member whose place it takes: it goes with the same change, once it is down. */
  readonly replaced: NodeId | null
  askedAtMs: number
}

export class RingChange {
  readonly #parts: RingChangeParts
  readonly #joining = new Map<NodeId, Joining>()
  #windowEndsMs = 0
  #obstacle: string | null = null
  #toldObstacle: { readonly number: number; readonly text: string | null; readonly atMs: number } | null =
    null
  #timer: Timer | null = null
  #heldMs = FIRST_HELD_RETRY_MS
  #isDriving = false
  #isNudged = false
  #isStopped = false

  constructor(parts: RingChangeParts) {
    this.#parts = parts
  }

  /** What the open change, or one that cannot begin, waits for, in words; null when there is none. */
  get pendingReason(): string | null {
    const { current, clock, timing } = this.#parts
    const configuration = current()?.configuration
    if (configuration === undefined) return null
    if (this.#obstacle !== null) return this.#obstacle
    const told = this.#toldObstacle
    const oldestMs = clock.monotonic() - FORGET_OBSTACLE_RETRIES * timing.retryMs
    const holds = told !== null && told.number === configuration.number && told.atMs >= oldestMs
    return (holds ? told.text : null) ?? this.#inProgress(configuration)
  }

  /** What we tell the others that it waits for. */
  get obstacle(): string | null {
    return this.#obstacle
  }

  /** The driver told us. */
  toldObstacle(number: number, text: string | null): void {
    this.#toldObstacle = { number, text, atMs: this.#parts.clock.monotonic() }
  }

  /** Who has to drive changes, as far as we can see. */
  driver(): NodeId | null {
    const configuration = this.#parts.current()?.configuration
    return configuration === undefined ? null : this.#driverOf(configuration)
  }

  /**
   * @param replaces address or id of a dead member whose place it takes; null: it is one more
   * @returns the id of that member
   * @throws CONFLICT, INVALID_ARGUMENT when it cannot join; UNAVAILABLE when it cannot yet
   */
  checkJoin(member: Member, replaces: string | null): NodeId | null {
    const configuration = this.#parts.current()?.configuration
    if (configuration === undefined) throw new KvError('UNAVAILABLE', 'this peer is in no cluster yet')
    checkJoin(configuration, member)
    if (replaces === null) return null
    // Who goes may be gone when his successor asks again.
    return this.#joining.get(member.nodeId)?.replaced ?? this.#replaceable(configuration, replaces)
  }

  /**
   * Lets a peer join, of whom `checkJoin` had nothing to say.
   * @param replaced the dead member whose place it takes @throws OVERLOADED
   */
  join(member: Member, replaced: NodeId | null): void {
    if (this.#joining.size >= MAX_JOINING && !this.#joining.has(member.nodeId)) {
      throw new KvError('OVERLOADED', 'too many peers join at once; they are added one after the other')
    }
    const nowMs = this.#parts.clock.monotonic()
    if (this.#joining.size === 0) this.#windowEndsMs = nowMs + this.#parts.timing.joinWindowMs
    this.#joining.set(member.nodeId, { member, replaced, askedAtMs: nowMs })
    this.nudge()
  }

  /**
   * Gets a change of the ring begun, or somebody excluded, as somebody wants it.
   * @param change gives the successor of a configuration, the same object when there is nothing to change, or
   * throws a KvError; called again on newer configurations
   * @param onLoss for changes that exclude somebody
   * @returns the configuration that has it
   * @throws what `change` and `onLoss` throw; UNAVAILABLE when it was not done; TIMEOUT_UNKNOWN when it may
   * come about yet
   */
  async alter(
    change: (configuration: Configuration) => Configuration,
    timeoutMs: number,
    onLoss: OnLoss | null = null,
  ): Promise<Configuration> {
    const { clock, timing, losses } = this.#parts
    const deadlineMs = clock.monotonic() + timeoutMs
    let isUnknown = false
    let obstacle = 'no majority of the acceptors answers'
    do {
      const decided = this.#parts.current()
      if (decided === null) throw new KvError('UNAVAILABLE', 'this peer is in no cluster yet')
      const wanted = apply(change, decided.configuration, isUnknown)
      if (wanted === decided.configuration) return wanted
      const loss = onLoss === null ? null : await losses.find(decided, wanted)
      if (this.#parts.current() !== decided) continue
      const weigh = (): Configuration => (onLoss === null || loss === null ? wanted : onLoss(wanted, loss))
      const next = apply(weigh, decided.configuration, isUnknown)
      const held = await this.#lookAround(decided, next)
      if (this.#parts.current() !== decided) continue
      if (held === null) {
        const restMs = deadlineMs - clock.monotonic()
        const decision = await this.#parts.decide(decided, next, restMs)
        if (decision.ours !== null) return decision.ours
        isUnknown ||= decision.isUnknown
      } else {
        obstacle = held
        await this.#parts.pause(timing.heldRetryMs)
      }
    } while (clock.monotonic() < deadlineMs && !this.#isStopped)
    if (!isUnknown) throw new KvError('UNAVAILABLE', `nothing was changed: ${obstacle}; try again`)
    throw new KvError('TIMEOUT_UNKNOWN', 'the change was not confirmed in time; it may come about yet')
  }

  /** Why a change cannot begin yet, in words; null: all that it waits for are ready, or it is begun. */
  async #lookAround(decided: Decided, next: Configuration): Promise<string | null> {
    const { configuration } = decided
    if (next.phaseNumber === configuration.phaseNumber) return null
    const waitedFor = membersWaitedFor(configuration).filter((nodeId) => !next.excluded.includes(nodeId))
    const acks = await this.#parts.spread.collect(decided, waitedFor)
    return this.#silence(configuration, waitedFor, acks) ?? this.#unready(acks)
  }

  #silence({ number }: Configuration, waitedFor: readonly NodeId[], acks: readonly Ack[]): string | null {
    const silent = waitedFor.filter((nodeId) => !acks.some((ack) => ack.nodeId === nodeId))
    return silent.length === 0 ? null : `${this.#names(silent)} did not acknowledge configuration ${number}`
  }

  /** Somebody appeared, died or came back. Who was to join may be there no more. */
  peersChanged(): void {
    const decided = this.#parts.current()
    const isMoot = decided !== null && this.#obstacle !== null && this.#lacksJoiners(decided.configuration)
    if (isMoot) this.#setObstacle(decided, null)
    this.nudge()
  }

  /** Something changed: look whether there is something to do. */
  nudge(): void {
    if (this.#isStopped) return
    this.#isNudged = true
    this.#schedule(0)
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#timer = null
  }

  #schedule(delayMs: number): void {
    if (this.#isDriving || this.#isStopped) return
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.setTimer(delayMs, () => {
      this.#timer = null
      void this.#drive()
    })
  }

  async #drive(): Promise<void> {
    this.#isDriving = true
    let delayMs: number | null = null
    try {
      do {
        this.#isNudged = false
        delayMs = await this.#step()
      } while ((delayMs === 0 || this.#isNudged) && !this.#isStopped)
    } catch (error) {
      this.#parts.log.error('ring_change.failed', { error })
      delayMs = this.#parts.timing.retryMs
    }
    this.#isDriving = false
    if (delayMs !== null) this.#schedule(delayMs)
  }

  /** @returns ms until it is worth looking again, 0 for at once, null for at the next nudge */
  async #step(): Promise<number | null> {
    const { timing, clock, self, spread } = this.#parts
    const decided = this.#parts.current()
    if (decided === null) return null
    const { configuration } = decided
    this.#forgetJoins(configuration)
    if (!this.#hasWork(configuration)) {
      this.#setObstacle(decided, null)
      return null
    }
    // Who was asked to let somebody join does so: the one who handed the request on saw nobody else to do it.
    const isAsked = configuration.phase === 'stable' && this.#joining.size > 0
    if (!isAsked && this.#driverOf(configuration) !== self) {
      this.#obstacle = null
      return timing.retryMs
    }
    const windowMs = configuration.phase === 'stable' ? this.#windowEndsMs - clock.monotonic() : 0
    if (windowMs > 0) return windowMs
    if (this.#lacksJoiners(configuration)) {
      this.#setObstacle(decided, null)
      return timing.retryMs
    }

    const delayMs = configuration.phase === 'stable' ? null : await this.#giveUpReplaced(decided)
    if (delayMs !== null) return delayMs
    const replaced = configuration.phase === 'stable' ? this.#replaced() : []
    const waitedFor = membersWaitedFor(configuration).filter((nodeId) => !replaced.includes(nodeId))
    const acks = await spread.collect(decided, waitedFor)
    if (this.#parts.current() !== decided) return 0
    if (this.#lacksJoiners(configuration)) return timing.retryMs
    const silence = this.#silence(configuration, waitedFor, acks)
    if (silence !== null) {
      this.#waitFor(decided, silence)
      return timing.retryMs
    }
    const obstacle = await this.#obstacleOf(decided, acks)
    if (obstacle !== null) {
      // What is left over from the last change is dropped when all acknowledged it: who is gone never does.
      const retryMs = replaced.length === 0 ? null : await this.#giveUpReplaced(decided)
      if (retryMs !== null) return retryMs
      this.#waitFor(decided, obstacle)
      this.#heldMs = Math.min(timing.heldRetryMs, 2 * this.#heldMs)
      return this.#heldMs
    }
    const next = await this.#next(decided, acks, replaced)
    if (this.#parts.current() !== decided) return 0
    if (next === null) return timing.retryMs
    const loss = configuration.phase === 'stable' ? await this.#parts.losses.explain(decided, next) : null
    if (this.#parts.current() !== decided) return 0
    if (loss !== null) {
      this.#waitFor(decided, loss)
      return timing.retryMs
    }
    this.#heldMs = FIRST_HELD_RETRY_MS
    this.#setObstacle(decided, null)
    await this.#parts.decide(decided, next, PROPOSAL_RETRIES * timing.retryMs)
    if (this.#parts.current() !== decided) return 0
    const acceptors = configuration.acceptors.map(({ nodeId }) => nodeId)
    this.#waitFor(decided, `no majority of the acceptors answers (${this.#names(acceptors)})`)
    return timing.retryMs
  }

  /**
   * An open change, or a peer that has something left over from the last one, that waits for somebody whose
   * successor is there would hold up both for ever.
   * @returns as `#step`; null: there is nobody to give up
   */
  async #giveUpReplaced(decided: Decided): Promise<number | null> {
    const { clock, timing } = this.#parts
    const { configuration } = decided
    const nodeId = this.#replaced().find((one) => membersWaitedFor(configuration).includes(one))
    if (nodeId === undefined) return null
    const next = exclude(configuration, nodeId, clock.now())
    const loss = await this.#parts.losses.explain(decided, next)
    if (this.#parts.current() !== decided) return 0
    if (loss !== null) {
      this.#waitFor(decided, loss)
      return timing.retryMs
    }
    await this.#parts.decide(decided, next, PROPOSAL_RETRIES * timing.retryMs)
    return this.#parts.current() === decided ? timing.retryMs : 0
  }

  /** Why the next step cannot be taken yet, in words; null: it can. */
  async #obstacleOf(decided: Decided, acks: readonly Ack[]): Promise<string | null> {
    const { configuration } = decided
    // Who takes over data is not done yet, and need not be: it begins anew.
    if (isRetargetDue(createRing(configuration))) return null
    return this.#unready(acks) ?? (await this.#parts.losses.explain(decided, configuration))
  }

  #unready(acks: readonly Ack[]): string | null {
    const waiting = new Map<string, NodeId[]>()
    for (const { nodeId, waitsFor } of acks) {
      if (waitsFor !== null) waiting.set(waitsFor, [...(waiting.get(waitsFor) ?? []), nodeId])
    }
    const shown = [...waiting].slice(0, MAX_REASONS).map(([waitsFor, nodeIds]) => {
      return `${this.#names(nodeIds.sort())}${nodeIds.length > 1 ? ' each' : ''} ${waitsFor}`
    })
    return waiting.size === 0 ? null : shown.join('; ')
  }

  /** Null: nobody is there any more for whom it would be. */
  async #next(
    decided: Decided,
    acks: readonly Ack[],
    replaced: readonly NodeId[],
  ): Promise<Configuration | null> {
    const { clock } = this.#parts
    const { configuration } = decided
    if (isRetargetDue(createRing(configuration))) return retarget(configuration, clock.now())
    switch (configuration.phase) {
      case 'stable':
        return this.#begin(decided, replaced)
      case 'begun':
        return switchOver(configuration, clock.now())
      case 'switched':
        return finish(configuration, acks, clock.now())
      default:
        return unreachable(configuration.phase)
    }
  }

  /**
   * Whoever asked is asked back: what began has no way back, and waits for all. Who was left out of the
   * change before goes, and who is replaced.
   * @param replaced who was not waited for
   */
  async #begin(decided: Decided, replaced: readonly NodeId[]): Promise<Configuration | null> {
    const { spread, clock } = this.#parts
    const joining = this.#presentJoiners()
    const answering = await spread.answering(
      decided,
      joining.map(({ nodeId }) => nodeId),
    )
    // Who finds no room is told so when he asks again.
    const room = Math.max(0, MAX_MEMBERS - decided.configuration.members.length)
    const present = joining.filter(({ nodeId }) => answering.includes(nodeId)).slice(0, room)
    const { excluded } = decided.configuration
    if (present.length + excluded.length === 0) return null
    const dead = this.#replacedBy(present)
    // Of whom its successor is not there any more it has to be heard.
    if (!replaced.every((nodeId) => excluded.includes(nodeId) || dead.includes(nodeId))) return null
    return begin(decided.configuration, { joining: present, dead }, clock.now())
  }

  #hasWork({ phase, excluded }: Configuration): boolean {
    return phase !== 'stable' || this.#joining.size > 0 || excluded.length > 0
  }

  #lacksJoiners(configuration: Configuration): boolean {
    const isStable = configuration.phase === 'stable' && configuration.excluded.length === 0
    return isStable && this.#presentJoiners().length === 0
  }

  /** One that died since it asked would hold up everybody: a member is waited for. */
  #presentJoiners(): readonly Member[] {
    const { peers } = this.#parts
    return [...this.#joining.values()].flatMap(({ member, replaced }) => {
      const isInPlace = replaced === null || !peers.isAlive(replaced)
      return isInPlace && peers.isAlive(member.nodeId) ? [member] : []
    })
  }

  /** Members that go because somebody is there in their place. */
  #replaced(): readonly NodeId[] {
    return this.#replacedBy(this.#presentJoiners())
  }

  #replacedBy(joining: readonly Member[]): readonly NodeId[] {
    const members = this.#parts.current()?.configuration.members ?? []
    const replaced = joining.flatMap(({ nodeId }) => this.#joining.get(nodeId)?.replaced ?? [])
    return replaced.filter((nodeId) => members.some((member) => member.nodeId === nodeId))
  }

  /**
   * Null: it has been removed meanwhile, as somebody else asked for, so that its successor just joins.
   * @throws CONFLICT when there is no such member; UNAVAILABLE while it is up
   */
  #replaceable({ members, removed }: Configuration, name: string): NodeId | null {
    const { peers } = this.#parts
    if (removed.some((nodeId) => nodeId === name)) return null
    const found = members.find(({ nodeId }) => nodeId === name || peers.nameOf(nodeId) === name)
    if (found === undefined) {
      const advice = "'kvctl status' shows who is; without --replace this peer joins as one more"
      throw new KvError('CONFLICT', `${name} is no member of this cluster: ${advice}`)
    }
    if (!peers.isAlive(found.nodeId)) return found.nodeId
    throw new KvError('UNAVAILABLE', `${name} is up: its place is taken once it is down, and for good`)
  }

  #driverOf(configuration: Configuration): NodeId | null {
    const { self, peers } = this.#parts
    const isUp = (nodeId: NodeId): boolean => nodeId === self || peers.isAlive(nodeId)
    const candidates = membersWaitedFor(configuration).filter(isUp)
    // One that leaves goes with the last step, maybe before the others have heard of it.
    const { members } = targetLayout(configuration)
    return candidates.find((nodeId) => members.includes(nodeId)) ?? candidates[0] ?? null
  }

  #forgetJoins(configuration: Configuration): void {
    const { clock, timing } = this.#parts
    const oldestMs = clock.monotonic() - FORGET_JOIN_RETRIES * timing.retryMs
    for (const { nodeId } of configuration.members) this.#joining.delete(nodeId)
    for (const [nodeId, { askedAtMs }] of this.#joining)
      if (askedAtMs < oldestMs) this.#joining.delete(nodeId)
  }

  #waitFor(decided: Decided, what: string): void {
    this.#setObstacle(decided, `${this.#change(decided.configuration)} waits: ${what}`)
  }

  #setObstacle(decided: Decided, obstacle: string | null): void {
    if (obstacle === this.#obstacle) return
    this.#obstacle = obstacle
    const { configuration } = decided
    if (obstacle !== null)
      this.#parts.log.warn('ring_change.waits', { number: configuration.number, obstacle })
    // Whichever peer is asked for its status should know.
    void this.#parts.spread.collect(decided, membersWaitedFor(configuration))
  }

  #inProgress(configuration: Configuration): string | null {
    return configuration.phase === 'stable' ? null : `${this.#change(configuration)} is under way`
  }

  /** Who comes and who goes, in words. */
  #change(configuration: Configuration): string {
    const [before, after = before] = configuration.layouts.map((layout) => layout.members)
    const isStable = configuration.phase === 'stable'
    const joining = isStable
      ? this.#presentJoiners().map(({ nodeId }) => nodeId)
      : (after ?? []).filter((nodeId) => before?.includes(nodeId) !== true)
    const { excluded, altered, keyspaces } = configuration
    const isStaying = (nodeId: NodeId): boolean => after?.includes(nodeId) === true
    const leaving = isStable ? excluded : (before ?? []).filter((nodeId) => !isStaying(nodeId))
    const parts: string[] = []
    const add = (what: string, nodeIds: readonly NodeId[]): void => {
      if (nodeIds.length > 0) parts.push(`${what} of ${this.#names(nodeIds)}`)
    }
    add('join', joining)
    add(
      'leave',
      leaving.filter((nodeId) => !excluded.includes(nodeId)),
    )
    add(
      'removal',
      leaving.filter((nodeId) => excluded.includes(nodeId)),
    )
    for (const { id } of altered) {
      const name = keyspaces.find((keyspace) => keyspace.id === id)?.name
      parts.push(`alteration of keyspace ${name}`)
    }
    return parts.length === 0 ? 'change of the ring' : parts.join(', ')
  }

  #names(nodeIds: readonly NodeId[]): string {
    return firstFew(nodeIds.map((nodeId) => this.#parts.peers.nameOf(nodeId)))
  }
}
