/** What a person may not expect of a change of the ring that he asked for. */
import type { LayoutPlanInfo, PlannedPeer } from '../../wire/layout.ts'
import type { KeyspaceInfo, KvService } from '../../wire/requests.ts'
import { colors } from '../terminal.ts'

export interface Ownership {
  /** Of the keyspaces only this one. */
  readonly keyspace?: string
  /** What it is to be; as it is where that is not said. */
  readonly strategy?: KeyspaceInfo['strategy'] | undefined
  readonly replicas?: number | undefined
  /** Address or id of a peer that is to go. */
  readonly without?: string
}

/** Fewer peers are to own data than a keyspace wants replicas: a sentence, or null. */
export async function fewOwners(
  service: Pick<KvService, 'layout' | 'keyspaces'>,
  { keyspace, strategy, replicas, without }: Ownership,
): Promise<string | null> {
  const { members } = await service.layout()
  const owners = members.filter(({ partitions, peer, peerAddress }) => {
    return partitions > 0 && without !== peer && without !== peerAddress
  })
  const meant = (await service.keyspaces()).filter(({ name }) => keyspace === undefined || keyspace === name)
  const wanted = meant.map((one) => ({
    name: one.name,
    strategy: strategy ?? one.strategy,
    replicas: replicas ?? one.replicas,
  }))
  return tooFew(wanted, owners.length)
}

/** What follows from a plan that its table does not say. */
export async function warnOfPlan(service: KvService, { peers, staged }: LayoutPlanInfo): Promise<void> {
  const owners = peers.filter(({ partitions }) => partitions > 0)
  const goes = staged.some(({ kind }) => kind === 'leave' || kind === 'remove')
  const few = goes ? tooFew(await service.keyspaces(), owners.length) : null
  warn(few)
  warn(mixedZones(owners))
}

type Wanted = Pick<KeyspaceInfo, 'name' | 'strategy' | 'replicas'>

/** Null: there are enough. Of the keyspaces the one is named that wants the most. */
function tooFew(keyspaces: readonly Wanted[], owners: number): string | null {
  const [most] = keyspaces
    .filter(({ strategy, replicas }) => strategy !== 'full' && replicas > owners)
    .sort((a, b) => b.replicas - a.replicas)
  if (most === undefined || owners === 0) return null
  const has = `the cluster has ${owners} peer${owners === 1 ? '' : 's'} for them`
  const wanted = `in keyspace ${most.name} ${most.replicas} replicas are wanted and ${has}`
  return `${wanted}: until more have joined, every peer holds every key`
}

function mixedZones(owners: readonly PlannedPeer[]): string | null {
  const unzoned = owners.filter(({ zone }) => zone === '')
  if (unzoned.length === 0 || unzoned.length === owners.length) return null
  const which = unzoned.length === 1 ? `${unzoned[0]?.peerAddress} has` : `${unzoned.length} peers have`
  const share = 'those without count as one zone together, and share what one zone gets'
  return `${which} no zone while others have one: ${share}`
}

export function warn(what: string | null): void {
  if (what === null) return
  const { yellow } = colors(process.stderr)
  process.stderr.write(`${yellow(`kvctl: warning: ${what}`)}\n`)
}
