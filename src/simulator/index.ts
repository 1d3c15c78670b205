/// <reference types="node" preserve="true" />
/** `kvnode/simulator`: whole clusters in one process, for users' own tests. */

export { createFaultInjector, type FaultInjector } from './fault-injector.ts'
export { runScenario, type ScenarioFailure, type ScenarioOptions, type ScenarioReport } from './scenario.ts'
export { type FrameEntry, type LogEntry, SimulationError } from './sim-world.ts'
export {
  createSimulation,
  type SimClientOptions,
  type SimPeer,
  type SimPeerState,
  type Simulation,
  type SimulationOptions,
} from './simulation.ts'
export { createSwarm, FAULT_CLASSES, type Fault, type FaultClass, type SwarmOptions } from './swarm.ts'
