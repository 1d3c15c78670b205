/** What people are told where acknowledged writes may be lost with peers that go. */
import { KvError } from '../base/error.ts'
import { firstFew } from '../base/first-few.ts'
import type { NodeId } from '../base/ids.ts'
import type { Shortage } from '../protocol/ring-change.ts'

type NameOf = (nodeId: NodeId) => string

/**
 * @param names of those that would go
 * @param command that would give them up, with the flag for it
 */
export function lossRefused(
  loss: Shortage,
  names: readonly string[],
  command: string,
  nameOf: NameOf,
): KvError {
  const they = names.length > 1 ? 'they have' : 'it has'
  const ways = [
    ...waits(loss, nameOf),
    `start ${firstFew([...loss.silent.map(nameOf), ...names])} again`,
    `or give up what only ${they} with '${command} --accept-loss'`,
  ]
  const few = `${fewAre(loss, 'would be', nameOf)}, and acknowledged writes may be missing there`
  return new KvError('CONFLICT', `${few}: ${ways.join(', ')}`)
}

/**
 * Why a change does not go on by itself.
 * @param going excluded by the next step, beside those that are by now
 */
export function lossAhead(loss: Shortage, going: readonly NodeId[], nameOf: NameOf): string {
  const few = `${fewAre(loss, 'are', nameOf)}: acknowledged writes may be missing there`
  const [first] = going
  if (first === undefined) return `${few}; 'kvctl layout accept-loss' lets the change go on with what is left`
  const started = `start ${firstFew([...loss.silent, ...going].map(nameOf))} again`
  const given = `or 'kvctl remove ${nameOf(first)} --accept-loss' gives them up`
  return `${few}; ${[...waits(loss, nameOf), started, given].join(', ')}`
}

function fewAre({ keyspace, partition, owners, left, ...doubtful }: Shortage, are: string, nameOf: NameOf) {
  const where = `of partition ${partition} of keyspace ${keyspace.name}`
  const few = `${left.length} of ${owners.length} owners ${where}`
  const why: string[] = []
  const name = (nodeIds: readonly NodeId[], what: string): void => {
    if (nodeIds.length > 0) why.push(`${firstFew(nodeIds.map(nameOf))} ${what}`)
  }
  name(doubtful.lacking, 'lacks some of it: catching up, or its disk does not give it')
  name(doubtful.silent, 'does not answer')
  return why.length === 0
    ? `${few} ${are} left`
    : `${few} ${are} left that have all of it (${why.join('; ')})`
}

function waits({ lacking }: Shortage, nameOf: NameOf): string[] {
  if (lacking.length === 0) return []
  return [`wait until ${firstFew(lacking.map(nameOf))} has caught up ('kvctl status' shows how far that is)`]
}
