/** The layout of the ring: shown, planned, and changed by what was staged. */
import { unreachable } from '../base/assert.ts'
import { KvError } from '../base/error.ts'
import type { NodeId } from '../base/ids.ts'
import { lossRefused } from '../cluster/loss-words.ts'
import type { Configuration, PastDecision, StagedChange } from '../protocol/configuration.ts'
import { checkJoin } from '../protocol/configuration-change.ts'
import { type PartitionSizes, previewChange } from '../protocol/layout-preview.ts'
import { createRing, type Ring } from '../protocol/ring.ts'
import { findShortage, type Shortage } from '../protocol/ring-change.ts'
import { acceptLoss, applyStaged, setManual, stage, unstage } from '../protocol/staged-changes.ts'
import type {
  LayoutChange,
  LayoutDecision,
  LayoutInfo,
  LayoutMember,
  LayoutPlanInfo,
  ShownStagedChange,
} from '../wire/layout.ts'
import {
  findMember,
  givingUp,
  logLoss,
  RING_CHANGE_TIMEOUT_MS,
  type RingOperationsHost,
} from './ring-operations.ts'
import { readable, withAddresses } from './vetted-change.ts'

export interface WaitingPeer {
  readonly nodeId: NodeId
  readonly zone: string
  readonly weight: number
}

export interface LayoutOperationsHost extends RingOperationsHost {
  /** @throws UNAVAILABLE before there is one */
  ring(): Ring
  /** Who is known and no member, as far as it is up. */
  waiting(): readonly WaitingPeer[]
  /** How large each partition is, and which members did not say. */
  sizes(): Promise<{ readonly sizes: PartitionSizes; readonly silent: readonly NodeId[] }>
}

export class LayoutOperations {
  readonly #host: LayoutOperationsHost

  constructor(host: LayoutOperationsHost) {
    this.#host = host
  }

  show(): LayoutInfo {
    return this.#info(this.#host.ring())
  }

  /** @throws INVALID_ARGUMENT when nothing is staged; CONFLICT while a change is open */
  async plan(): Promise<LayoutPlanInfo> {
    const ring = this.#host.ring()
    const { number } = ring
    const apply = (base: Configuration) => applyStaged(base, number, this.#host.now())
    const begun = readable(this.#host, ring.configuration, apply)
    const { sizes, silent } = await this.#host.sizes()
    const { peers, ...moved } = previewChange(createRing(begun), sizes)
    const facts = new Map(begun.members.map((member) => [member.nodeId, member]))
    const planned = peers.map(({ nodeId, after, ...counts }) => {
      const { zone = '', weight = 1 } = facts.get(nodeId) ?? {}
      const shown = { peer: nodeId, peerAddress: this.#nameOf(nodeId), zone, weight }
      return { ...shown, partitions: after, ...counts }
    })
    return {
      ...{ number, staged: this.#staged(ring.configuration), peers: planned.sort(byAddress) },
      ...{ ...moved, silent: silent.map((nodeId) => this.#nameOf(nodeId)) },
    }
  }

  /** Fulfils when it is decided. @throws INVALID_ARGUMENT, NOT_FOUND, CONFLICT; as `changeRing` */
  async change(change: LayoutChange): Promise<LayoutInfo> {
    const { changeRing, proposeChange } = this.#host
    let before = this.#host.configuration()
    const make = (base: Configuration): Configuration => {
      before = base
      return this.#next(base, change)
    }
    const isApplied = change.action === 'apply'
    const decided = isApplied
      ? await changeRing(make, RING_CHANGE_TIMEOUT_MS, (next, loss) => this.#weigh(next, loss, change))
      : await proposeChange(make, RING_CHANGE_TIMEOUT_MS)
    logLoss(this.#host, before, decided)
    return this.#info(createRing(decided))
  }

  /** @throws CONFLICT: acknowledged writes may be lost with those that are removed */
  #weigh(begun: Configuration, loss: Shortage, { number, acceptLoss: mayLose }: LayoutChange): Configuration {
    if (mayLose) return givingUp(begun)
    const gone = begun.excluded.map((nodeId) => this.#nameOf(nodeId))
    const command = `kvctl layout apply --number ${number}`
    throw lossRefused(loss, gone, command, (nodeId) => this.#nameOf(nodeId))
  }

  #next(base: Configuration, change: LayoutChange): Configuration {
    const { action } = change
    const nowMs = this.#host.now()
    switch (action) {
      case 'manual':
      case 'automatic':
        return setManual(base, action === 'manual', nowMs)
      case 'acceptLoss':
        if (base.excluded.length > 0 && findShortage(createRing(base)) === null) {
          throw new KvError(
            'CONFLICT',
            'enough owners of every partition are left: nothing has to be given up',
          )
        }
        return this.#acceptLoss(base, nowMs)
      case 'apply':
        return this.#apply(base, change, nowMs)
      case 'clear':
        return this.#clear(base, change.peer, nowMs)
      case 'join':
      case 'leave':
      case 'remove':
      case 'weight':
      case 'zone':
      case 'replace':
        return stage(base, this.#stagedOf(base, change), nowMs)
      default:
        return unreachable(action)
    }
  }

  /** @throws CONFLICT */
  #apply(base: Configuration, { number }: LayoutChange, nowMs: number): Configuration {
    const begun = applyStaged(base, number ?? 0, nowMs)
    for (const staged of base.staged) this.#checkLiveness(staged)
    return begun
  }

  #acceptLoss(base: Configuration, nowMs: number): Configuration {
    const next = acceptLoss(base, nowMs)
    return next === base ? base : givingUp(next)
  }

  #stagedOf(base: Configuration, { action, peer, replaces, weight, zone }: LayoutChange): StagedChange {
    const name = peer ?? ''
    if (action === 'join' || action === 'replace') {
      const replaced = replaces === null ? null : findMember(this.#host, base, replaces)
      return { ...this.#joining(base, name), kind: 'join', replaces: replaced }
    }
    const joining = base.staged.find((one) => one.kind === 'join' && this.#isCalled(one.nodeId, name))
    const nodeId = joining?.nodeId ?? findMember(this.#host, base, name)
    const kind = action === 'leave' || action === 'remove' ? action : 'alter'
    return { nodeId, kind, zone, weight, replaces: null }
  }

  /** A peer that waits to be let in: as staged, or as it says of itself. */
  #joining(base: Configuration, name: string): Pick<StagedChange, 'nodeId' | 'zone' | 'weight'> {
    const staged = base.staged.find(({ kind, nodeId }) => kind === 'join' && this.#isCalled(nodeId, name))
    if (staged !== undefined) return staged
    const found = this.#host.waiting().find(({ nodeId }) => this.#isCalled(nodeId, name))
    if (found !== undefined) {
      checkJoin(base, found)
      return found
    }
    const advice = 'start it with --join and --manual-layout'
    throw new KvError('NOT_FOUND', `no peer ${name.slice(0, 64)} waits to join this cluster: ${advice}`)
  }

  /** @throws CONFLICT */
  #checkLiveness({ nodeId, kind, replaces }: StagedChange): void {
    const name = this.#nameOf(nodeId)
    const clear = `or take it out with 'kvctl layout stage clear ${name}'`
    const isUp = this.#isUp(nodeId)
    if ((kind === 'join' || kind === 'leave') && !isUp) {
      throw new KvError('CONFLICT', `${name}, which is to ${kind}, is down: start it, ${clear}`)
    }
    if (kind === 'remove' && isUp) {
      throw new KvError('CONFLICT', `${name}, which is to be removed, is up: stage that it leaves, ${clear}`)
    }
    if (replaces !== null && this.#isUp(replaces)) {
      const replaced = this.#nameOf(replaces)
      throw new KvError('CONFLICT', `${replaced}, whose place ${name} is to take, is up: stop it, ${clear}`)
    }
  }

  /** @throws CONFLICT for a peer that would have it staged again at once */
  #clear(base: Configuration, peer: string | null, nowMs: number): Configuration {
    const chosen = base.staged.filter(({ nodeId }) => peer === null || this.#isCalled(nodeId, peer))
    const [first] = chosen
    if (peer !== null && first === undefined) {
      const listed = "'kvctl layout show' lists what is"
      throw new KvError('NOT_FOUND', `nothing is staged of ${peer.slice(0, 64)}: ${listed}`)
    }
    const asking = chosen.find(({ kind, nodeId }) => kind === 'join' && this.#isUp(nodeId))
    if (asking !== undefined) {
      const name = this.#nameOf(asking.nodeId)
      throw new KvError('CONFLICT', `${name} is up and asks to join again at once: stop it first`)
    }
    return unstage(base, peer === null ? null : (first?.nodeId ?? null), nowMs)
  }

  #info(ring: Ring): LayoutInfo {
    const { configuration, number, partitionCount } = ring
    const { phase, isManual, history } = configuration
    const decisions = [...history, configuration].map((past) => this.#decision(configuration, past))
    return {
      ...{ number, phase, manual: isManual, partitionCount, members: this.#members(ring) },
      ...{ staged: this.#staged(configuration), history: decisions.reverse() },
    }
  }

  #members(ring: Ring): readonly LayoutMember[] {
    const { configuration, partitionCount } = ring
    const counts = new Map<NodeId, number>()
    for (const keyspace of configuration.keyspaces) {
      for (let partition = 0; partition < partitionCount; partition++) {
        for (const owner of ring.writeOwners(keyspace, partition).at(-1) ?? []) {
          counts.set(owner, (counts.get(owner) ?? 0) + 1)
        }
      }
    }
    const members = configuration.members.map(({ nodeId, zone, weight }) => {
      const partitions = counts.get(nodeId) ?? 0
      return { peer: nodeId, peerAddress: this.#nameOf(nodeId), zone, weight, partitions }
    })
    return members.sort(byAddress)
  }

  #staged({ staged }: Configuration): readonly ShownStagedChange[] {
    const shown = staged.map(({ nodeId, kind, zone, weight, replaces }) => {
      const replacesAddress = replaces === null ? null : this.#nameOf(replaces)
      return {
        peer: nodeId,
        peerAddress: this.#nameOf(nodeId),
        kind,
        zone,
        weight,
        replaces,
        replacesAddress,
      }
    })
    return shown.sort(byAddress)
  }

  #decision(configuration: Configuration, past: PastDecision): LayoutDecision {
    const { number, decidedBy, decidedAtMs } = past
    const reason = withAddresses(this.#host, configuration, past.reason)
    return { number, reason, decidedBy: this.#nameOf(decidedBy), decidedAtMs }
  }

  #isUp(nodeId: NodeId): boolean {
    return nodeId === this.#host.selfId || this.#host.isAlive(nodeId)
  }

  #isCalled(nodeId: NodeId, name: string): boolean {
    return nodeId === name || this.#host.addressOf(nodeId) === name
  }

  #nameOf(nodeId: NodeId): string {
    return this.#host.addressOf(nodeId) ?? nodeId
  }
}

function byAddress(a: { readonly peerAddress: string }, b: { readonly peerAddress: string }): number {
  return a.peerAddress < b.peerAddress ? -1 : 1
}
