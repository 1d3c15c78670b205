/** The words after `kvctl fault` as a command. */
import { KvError } from '../../base/error.ts'
import { type FaultCommand, parseFaultCommand } from '../../wire/faults.ts'
import { FAULT_USAGE } from './fault-usage.ts'

/** @throws INVALID_ARGUMENT */
export function parseFaultWords(action: string, words: readonly string[]): FaultCommand | 'list' {
  const usage = FAULT_USAGE[action as FaultCommand['fault']]
  const count = usage.split(' ').length - 1
  if (words.length !== count) throw invalid(`'${action}' is written: kvctl fault ${usage}`)
  if (action === 'list') return 'list'
  const [first = '', second = '', third = ''] = words
  return parseFaultCommand({ fault: action, ...fieldsOf(action, first, second, third) })
}

function fieldsOf(action: string, first: string, second: string, third: string): object {
  switch (action) {
    case 'partition':
      return { groups: groupsOf(first) }
    case 'one-way':
      return { from: first, to: second }
    case 'drop':
      return { between: [first, second], percent: percentOf(third) }
    case 'delay':
      return { between: [first, second], delayMs: delayMsOf(third) }
    case 'heal':
      return {}
    default:
      return { peer: first }
  }
}

function groupsOf(text: string): string[][] {
  const groups = text.split('|').map((group) => group.split(',').map((name) => name.trim()))
  if (groups.length >= 2 && groups.every((group) => group.every((name) => name !== ''))) return groups
  throw invalid(`'${text}' is no partition; write the groups as in "7001,7002|7003"`)
}

/** Without its sign 0.5 may be meant as a half, and is half a percent. */
function percentOf(text: string): number {
  const match = /^(\d{1,3}(?:\.\d+)?)%$/.exec(text)
  const percent = Number(match?.[1] ?? Number.NaN)
  if (percent <= 100) return percent
  throw invalid(`'${text}' is no share; write it with its sign, 0% to 100%`)
}

function delayMsOf(text: string): number {
  const match = /^(\d{1,6}(?:\.\d+)?)(ms|s)$/.exec(text)
  if (match === null) throw invalid(`'${text}' is no time; write it as in 200ms or 2s`)
  return Number(match[1]) * (match[2] === 's' ? 1000 : 1)
}

function invalid(message: string): KvError {
  return new KvError('INVALID_ARGUMENT', message)
}
