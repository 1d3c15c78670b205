/** Every command of `kvctl`. They are small: what a command needs to run is loaded when it runs. */
import Bench from './bench.ts'
import Del from './del.ts'
import { FAULT_COMMANDS } from './fault.ts'
import Get from './get.ts'
import Hints from './hints.ts'
import Import from './import.ts'
import KeyspaceAlter from './keyspace-alter.ts'
import KeyspaceCreate from './keyspace-create.ts'
import KeyspaceDrop from './keyspace-drop.ts'
import KeyspaceList from './keyspace-list.ts'
import LayoutAcceptLoss from './layout-accept-loss.ts'
import LayoutApply from './layout-apply.ts'
import LayoutHistory from './layout-history.ts'
import LayoutMode from './layout-mode.ts'
import LayoutPlan from './layout-plan.ts'
import LayoutShow from './layout-show.ts'
import LayoutStage from './layout-stage.ts'
import Leave from './leave.ts'
import Put from './put.ts'
import Remove from './remove.ts'
import Repair from './repair.ts'
import Replace from './replace.ts'
import Ring from './ring.ts'
import Status from './status.ts'
import Tasks from './tasks.ts'

export const COMMANDS = {
  put: Put,
  get: Get,
  del: Del,
  status: Status,
  ring: Ring,
  leave: Leave,
  remove: Remove,
  replace: Replace,
  'layout:show': LayoutShow,
  'layout:stage': LayoutStage,
  'layout:plan': LayoutPlan,
  'layout:apply': LayoutApply,
  'layout:history': LayoutHistory,
  'layout:mode': LayoutMode,
  'layout:accept-loss': LayoutAcceptLoss,
  ...FAULT_COMMANDS,
  hints: Hints,
  repair: Repair,
  tasks: Tasks,
  import: Import,
  bench: Bench,
  'keyspace:create': KeyspaceCreate,
  'keyspace:list': KeyspaceList,
  'keyspace:alter': KeyspaceAlter,
  'keyspace:drop': KeyspaceDrop,
}
