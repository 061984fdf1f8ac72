// The round trips of the SDK for servers: one line of JSON each. node server.mjs URL AWAY
import { OpenFeature } from '@openfeature/server-sdk';
import { AbsideProvider } from './abside.mjs';

const [, , url, away] = process.argv;
const who = { targetingKey: 'u9', session_id: 's1', country: 'DE' };
const mine = { model: 'default' };
const show = (name, { value, reason, errorCode }) =>
  console.log(JSON.stringify({ case: name, value: value?.model ?? value, reason, error: errorCode }));

await OpenFeature.setProviderAndWait('here', new AbsideProvider(url, 10_000));
await OpenFeature.setProviderAndWait('away', new AbsideProvider(away, 10_000));
const here = OpenFeature.getClient('here');
show('an object', await here.getObjectDetails('pdp', mine, who));
show('a string', await here.getStringDetails('pdp-reranker', 'default', who));
show('a string, not in the experiment', await here.getStringDetails('nobodys', 'default', who));
show('a boolean', await here.getBooleanDetails('pdp', false, who));
show('a flag that does not exist', await here.getObjectDetails('nope', mine, who));
show('an object without a context', await here.getObjectDetails('pdp', mine));
show('a string without a context', await here.getStringDetails('pdp-reranker', 'default'));
show('a sidecar that is away', await OpenFeature.getClient('away').getObjectDetails('pdp', mine, who));
here.track('add_to_cart', { targetingKey: 'u-js' }, { value: 19.9, itemId: 'i7', currency: 'EUR', shelf: 'top' });
here.track('Add to cart', { targetingKey: 'u-secret' }, { value: 1 });
await OpenFeature.close();
