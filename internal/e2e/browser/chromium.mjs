// How the tests start Chromium: /usr/bin/chromium, or what CHROMIUM names.

import { chromium } from 'playwright-core';

// options are what every start has. args are further flags.
export const options = (...args) => ({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ...args,
  ],
});

export const launch = (...args) => chromium.launch(options(...args));
