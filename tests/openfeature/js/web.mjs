// The round trips of the SDK for pages: one line of JSON each. node web.mjs URL AWAY
import { OpenFeature } from '@openfeature/web-sdk';
import { AbsideWebProvider } from './abside-web.mjs';

const [, , url, away] = process.argv;
const who = { targetingKey: 'u9', session_id: 's1', country: 'DE' };
const mine = { model: 'default' };
const show = (name, { value, reason, errorCode }) =>
  console.log(JSON.stringify({ case: name, value: value?.model ?? value, reason, error: errorCode }));

await OpenFeature.setContext('here', who);
await OpenFeature.setProviderAndWait('here', new AbsideWebProvider(url, 10_000));
const here = OpenFeature.getClient('here');
show('an object', here.getObjectDetails('pdp', mine));
here.getObjectDetails('pdp', mine);
show('a string', here.getStringDetails('pdp-reranker', 'default'));
show('a string, not in the experiment', here.getStringDetails('nobodys', 'default'));
show('a boolean', here.getBooleanDetails('pdp', false));
show('a flag that does not exist', here.getObjectDetails('nope', mine));
await OpenFeature.setProviderAndWait('nobody', new AbsideWebProvider(url, 10_000));
show('an object without a context', OpenFeature.getClient('nobody').getObjectDetails('pdp', mine));
show('a string without a context', OpenFeature.getClient('nobody').getStringDetails('pdp-reranker', 'default'));
await OpenFeature.setProviderAndWait('away', new AbsideWebProvider(away, 10_000)).catch(() => {});
show('a sidecar that is away', OpenFeature.getClient('away').getObjectDetails('pdp', mine));
await OpenFeature.setContext('here', { ...who, targetingKey: 'u-web' });
here.track('add_to_cart', { value: 19.9, itemId: 'i7', currency: 'EUR', shelf: 'top' });
await OpenFeature.close();
