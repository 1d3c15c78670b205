/** Opens the database of a store that had it open before: after a failed write. */
import type { StoreId } from '../base/ids.ts'
import type { Effects } from '../effects/effects.ts'
import type { Database } from '../effects/storage.ts'
import { beginLife, type Life, syncDatabase } from './life.ts'
import { exchangedError, type Outage } from './outage.ts'

interface Reopened {
  readonly database: Database
  readonly life: Life
}

/**
 * Nothing is served, and no dot minted, before the database has taken a write: one that opens may take none.
 * @throws with nothing open; INTERNAL when it is another life's
 */
export async function openAgain(
  { storage, random }: Pick<Effects, 'storage' | 'random'>,
  storeId: StoreId,
  outage: Pick<Outage, 'trial'>,
): Promise<Reopened> {
  const database = await storage.openDatabase()
  try {
    const life = await beginLife(storage, database, random)
    if (life.storeId !== storeId) throw exchangedError(storage.name)
    await outage.trial()
    await syncDatabase(database, storeId)
    return { database, life }
  } catch (error) {
    await database.close()
    throw error
  }
}
