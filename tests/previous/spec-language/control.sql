BEGIN TRANSACTION;
CREATE TABLE evaluation (
	id INTEGER NOT NULL, 
	experiment VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	watermark INTEGER NOT NULL, 
	missed INTEGER NOT NULL, 
	result VARCHAR NOT NULL, 
	decision VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_evaluation_per_tick UNIQUE (experiment, at), 
	FOREIGN KEY(experiment) REFERENCES experiment ("key")
);
INSERT INTO "evaluation" VALUES(1,'cancel-page',1,'2026-01-05 02:00:00.000000',24,1,'ok','hold: the ramp is at its last step');
CREATE TABLE experiment (
	"key" VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	step_since DATETIME NOT NULL, 
	step_exposed JSON NOT NULL, 
	started_at DATETIME NOT NULL, 
	ends_at DATETIME NOT NULL, 
	observe_until DATETIME NOT NULL, 
	starts_at DATETIME, 
	approved INTEGER NOT NULL, 
	layer VARCHAR, 
	layer_buckets JSON NOT NULL, 
	holdout FLOAT NOT NULL, 
	checks INTEGER NOT NULL, 
	last_tick_at DATETIME, 
	watermark INTEGER NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "experiment" VALUES('cancel-page',2,'running',1,1,0,'2026-01-05 00:00:00.000000','{}','2026-01-05 00:00:00.000000','2026-01-15 00:00:00.000000','2026-01-16 00:00:00.000000',NULL,-1,NULL,'[]',0.0,1,'2026-01-05 02:00:00.000000',24);
CREATE TABLE finding (
	id INTEGER NOT NULL, 
	evaluation INTEGER NOT NULL, 
	experiment VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	guardrail VARCHAR NOT NULL, 
	treatment VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	outcome VARCHAR NOT NULL, 
	evidence FLOAT NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_finding_per_check UNIQUE (evaluation, guardrail, treatment), 
	FOREIGN KEY(evaluation) REFERENCES evaluation (id)
);
INSERT INTO "finding" VALUES(1,1,'cancel-page',1,1,'satisfaction','treatment','2026-01-05 02:00:00.000000','inconclusive',0.0,'{"guardrail": "satisfaction", "kpi": "satisfaction", "treatment": "treatment", "outcome": "inconclusive", "code": "too_few", "windows": [{"window": "PT3600S", "level": 0.03125, "outcome": "inconclusive", "code": "too_few", "entered": [4, 8], "units": [4, 8], "control_value": 4.5, "treatment_value": 2.0, "effect": -0.5555555555555556, "effect_low": "nan", "effect_high": "nan", "z": 3.2074471875378263, "boundary": "nan", "is_look": false, "look": 0, "information": 2.6666666666666665, "spent": 0.0, "e_value": 1.0, "restart": null, "safe_e_value": "nan", "skewness": 0.13995291751761169, "evidence": 0.0, "bound": "nan"}, {"window": "P1D", "level": 0.01875, "outcome": "inconclusive", "code": "window_open", "entered": [0, 0], "units": [0, 0], "control_value": "nan", "treatment_value": "nan", "effect": "nan", "effect_low": "nan", "effect_high": "nan", "z": "nan", "boundary": "nan", "is_look": false, "look": 0, "information": 0.0, "spent": 0.0, "e_value": "nan", "restart": null, "safe_e_value": "nan", "skewness": "nan", "evidence": 0.0, "bound": "nan"}], "states": {}, "evidence": 0.0, "detail": {}}');
CREATE TABLE monitor (
	experiment VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	treatment VARCHAR NOT NULL, 
	attempt INTEGER NOT NULL, 
	guardrail VARCHAR NOT NULL, 
	checked_at DATETIME NOT NULL, 
	stored_at DATETIME, 
	outcome VARCHAR NOT NULL, 
	blind_since DATETIME, 
	told BOOLEAN NOT NULL, 
	states JSON NOT NULL, 
	finding JSON NOT NULL, 
	PRIMARY KEY (experiment, seed, treatment, attempt, guardrail)
);
INSERT INTO "monitor" VALUES('cancel-page',1,'treatment',1,'satisfaction','2026-01-05 02:00:00.000000','2026-01-05 02:00:00.000000','inconclusive',NULL,0,'{"3600": {"looks": 0, "information": 0.0, "spent": 0.0, "boundary": "inf", "grid": "", "mass": "", "crossed": false, "watermark": 24}, "86400": {"looks": 0, "information": 0.0, "spent": 0.0, "boundary": "inf", "grid": "", "mass": "", "crossed": false, "watermark": 24}}','{"guardrail": "satisfaction", "kpi": "satisfaction", "treatment": "treatment", "outcome": "inconclusive", "code": "too_few", "windows": [{"window": "PT3600S", "level": 0.03125, "outcome": "inconclusive", "code": "too_few", "entered": [4, 8], "units": [4, 8], "control_value": 4.5, "treatment_value": 2.0, "effect": -0.5555555555555556, "effect_low": "nan", "effect_high": "nan", "z": 3.2074471875378263, "boundary": "nan", "is_look": false, "look": 0, "information": 2.6666666666666665, "spent": 0.0, "e_value": 1.0, "restart": null, "safe_e_value": "nan", "skewness": 0.13995291751761169, "evidence": 0.0, "bound": "nan"}, {"window": "P1D", "level": 0.01875, "outcome": "inconclusive", "code": "window_open", "entered": [0, 0], "units": [0, 0], "control_value": "nan", "treatment_value": "nan", "effect": "nan", "effect_low": "nan", "effect_high": "nan", "z": "nan", "boundary": "nan", "is_look": false, "look": 0, "information": 0.0, "spent": 0.0, "e_value": "nan", "restart": null, "safe_e_value": "nan", "skewness": "nan", "evidence": 0.0, "bound": "nan"}], "states": {}, "evidence": 0.0, "detail": {}}');
CREATE TABLE outbox (
	id INTEGER NOT NULL, 
	"key" VARCHAR NOT NULL, 
	channel VARCHAR NOT NULL, 
	experiment VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	attempts INTEGER NOT NULL, 
	delivered_at DATETIME, 
	given_up_at DATETIME, 
	last_error VARCHAR, 
	body JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_message_per_channel UNIQUE ("key", channel)
);
INSERT INTO "outbox" VALUES(1,'rolled_back:cancel-page/treatment/1/1','log','cancel-page','2026-01-05 02:30:00.000000','2026-01-05 02:30:00.000000',1,'2026-01-05 02:30:00.000000',NULL,NULL,'{"key": "rolled_back:cancel-page/treatment/1/1", "kind": "rolled_back", "experiment": "cancel-page", "variant": "treatment", "at": "2026-01-05T02:30:00+00:00", "title": "cancel-page: treatment was turned back to control", "text": "complaints", "evidence": null}');
CREATE TABLE phase (
	experiment VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	reason VARCHAR NOT NULL, 
	PRIMARY KEY (experiment, seed, number), 
	FOREIGN KEY(experiment) REFERENCES experiment ("key")
);
CREATE TABLE revision (
	experiment VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	text VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (experiment, number), 
	FOREIGN KEY(experiment) REFERENCES experiment ("key")
);
INSERT INTO "revision" VALUES('cancel-page',1,'experiment: cancel-page
title: Cancel page
unit: order_id
variants:
  control: {weight: 50%, flow: {steps: [confirm]}}
  treatment: {weight: 50%, flow: {steps: [why, confirm]}}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
expect_units: 50000
','cf0ad2024a04cd0c2a70eb59b0fa113cf4855f7d912b99d56fcbfb4fb1922b45','cancel-page.yaml','ann','2026-01-05 00:00:00.000000');
CREATE TABLE snapshot (
	experiment VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	body JSON NOT NULL, 
	PRIMARY KEY (experiment)
);
INSERT INTO "snapshot" VALUES('cancel-page','2026-01-05 02:00:00.000000','{"watermark": 24, "conflicted": 0, "exposed": {"control": 4, "treatment": 8}, "kpis": [{"kpi": "cancellation_rate", "window": 3600, "variant": "control", "entered": 4, "n": 4, "y": "0", "x": "4000000"}, {"kpi": "cancellation_rate", "window": 3600, "variant": "treatment", "entered": 8, "n": 8, "y": "0", "x": "8000000"}, {"kpi": "flow_dwell_seconds", "window": 3600, "variant": "control", "entered": 4, "n": 0, "y": "0", "x": "0"}, {"kpi": "flow_dwell_seconds", "window": 3600, "variant": "treatment", "entered": 8, "n": 0, "y": "0", "x": "0"}, {"kpi": "reason_dwell_seconds", "window": 3600, "variant": "control", "entered": 4, "n": 0, "y": "0", "x": "0"}, {"kpi": "reason_dwell_seconds", "window": 3600, "variant": "treatment", "entered": 8, "n": 0, "y": "0", "x": "0"}, {"kpi": "flow_failure_rate", "window": 3600, "variant": "control", "entered": 4, "n": 4, "y": "0", "x": "4000000"}, {"kpi": "flow_failure_rate", "window": 3600, "variant": "treatment", "entered": 8, "n": 8, "y": "0", "x": "8000000"}, {"kpi": "satisfaction", "window": 3600, "variant": "control", "entered": 4, "n": 4, "y": "18000000", "x": "4000000"}, {"kpi": "satisfaction", "window": 3600, "variant": "treatment", "entered": 8, "n": 8, "y": "16000000", "x": "8000000"}]}');
CREATE TABLE transition (
	id INTEGER NOT NULL, 
	experiment VARCHAR NOT NULL, 
	variant VARCHAR, 
	"before" VARCHAR NOT NULL, 
	"after" VARCHAR NOT NULL, 
	at DATETIME NOT NULL, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR NOT NULL, 
	evaluation INTEGER, 
	evidence JSON, 
	latch VARCHAR, 
	PRIMARY KEY (id), 
	CONSTRAINT one_transition_per_latch UNIQUE (latch), 
	FOREIGN KEY(experiment) REFERENCES experiment ("key")
);
INSERT INTO "transition" VALUES(1,'cancel-page',NULL,'draft','running','2026-01-05 00:00:00.000000','ann','revision 1 applied from cancel-page.yaml',NULL,'null',NULL);
INSERT INTO "transition" VALUES(2,'cancel-page','treatment','live','rolled_back','2026-01-05 02:30:00.000000','ann','complaints',NULL,'null','cancel-page/treatment/1/1');
CREATE TABLE treatment (
	experiment VARCHAR NOT NULL, 
	variant VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	first_phase INTEGER NOT NULL, 
	since DATETIME NOT NULL, 
	rolled_back_at DATETIME, 
	verify_after DATETIME, 
	effective BOOLEAN, 
	rate_before FLOAT, 
	rate_after FLOAT, 
	PRIMARY KEY (experiment, variant, seed, attempt), 
	FOREIGN KEY(experiment) REFERENCES experiment ("key")
);
INSERT INTO "treatment" VALUES('cancel-page','treatment',1,1,'rolled_back',0,'2026-01-05 00:00:00.000000','2026-01-05 02:30:00.000000','2026-01-05 02:45:00.000000',NULL,NULL,NULL);
CREATE INDEX ix_experiment_layer ON experiment (layer);
CREATE INDEX ix_outbox_due_at ON outbox (due_at);
CREATE INDEX ix_transition_experiment ON transition (experiment);
CREATE INDEX ix_evaluation_experiment ON evaluation (experiment);
CREATE INDEX ix_finding_experiment ON finding (experiment);
CREATE INDEX ix_finding_evaluation ON finding (evaluation);
COMMIT;
