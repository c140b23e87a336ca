// In the place of the fleet's part of the page where no hub is built in: there is nothing to show, and nobody logs in.
'use strict';

function watchFleet() {}

function leaveFleet() {}

function lookAtFleet() {}

function logIn() {}

function logOut() {}
