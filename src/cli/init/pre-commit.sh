#!/bin/sh
# Refuses a commit whose specs are not sound. Switch it on with: git config core.hooksPath .githooks
exec tidegate validate
