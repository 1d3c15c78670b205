import { runProgram } from '../program.ts'

await runProgram(
  {
    name: 'kvctl',
    description: 'Talks to a kvnode cluster, through any of its peers',
    topics: {
      fault: { description: 'simulate failures of running peers' },
      keyspace: { description: 'make, list, alter and drop keyspaces' },
      layout: { description: 'who has what of the ring; changes that are looked at before they begin' },
    },
  },
  process.argv.slice(2),
)
