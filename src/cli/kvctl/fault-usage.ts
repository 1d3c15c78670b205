/** How each failure is written. */
import type { FaultCommand } from '../../wire/faults.ts'

export const FAULT_USAGE: Readonly<Record<FaultCommand['fault'] | 'list', string>> = {
  partition: 'partition "A,B|C"',
  isolate: 'isolate PEER',
  'one-way': 'one-way A B',
  drop: 'drop A B 30%',
  delay: 'delay A B 200ms',
  fail: 'fail PEER',
  recover: 'recover PEER',
  heal: 'heal',
  list: 'list',
}
