BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE paretonas_architectures (
	"key" VARCHAR(32) NOT NULL, 
	description JSON NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "paretonas_architectures" VALUES('f1c62aec5e11c21580c60d3a8d59308a','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 8, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
INSERT INTO "paretonas_architectures" VALUES('fbab9b90210c99d18e6efcffadd0e993','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 6, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
INSERT INTO "paretonas_architectures" VALUES('21a07f2a6a7a2221ac53939b11c34604','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 12, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
INSERT INTO "paretonas_architectures" VALUES('5ee7ebc1110d817f53b69d8a338a3b12','{"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 5, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}');
CREATE TABLE paretonas_clocks (
	hardware VARCHAR(256) NOT NULL, 
	threads INTEGER NOT NULL, 
	torch VARCHAR(64) NOT NULL, 
	device VARCHAR(16) NOT NULL, 
	small_ms DOUBLE NOT NULL, 
	large_ms DOUBLE NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	PRIMARY KEY (hardware, threads, torch, device)
);
INSERT INTO "paretonas_clocks" VALUES('Intel(R) Xeon(R) Processor',1,'2.15.0+cu132','cpu',3.13737818713450467011e-01,0.886919783625731,'vm');
CREATE TABLE paretonas_epochs (
	id INTEGER NOT NULL, 
	evaluation_id INTEGER NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	number INTEGER NOT NULL, 
	loss DOUBLE NOT NULL, 
	score DOUBLE NOT NULL, 
	seconds DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(evaluation_id) REFERENCES paretonas_evaluations (id) ON DELETE CASCADE
);
INSERT INTO "paretonas_epochs" VALUES(1,1,'train',0,2.209014892578125e+00,4.05555555555555558022e-01,2.62034990009851753711e-02);
INSERT INTO "paretonas_epochs" VALUES(2,1,'train',1,1.71498441696167,5.8333333333333337034e-01,2.35289749980438500642e-02);
INSERT INTO "paretonas_epochs" VALUES(3,1,'finetune',0,1.74759888648986816406e+00,5.72222222222222187681e-01,2.30509590037399902939e-02);
INSERT INTO "paretonas_epochs" VALUES(4,1,'finetune',1,1.43790805339813232421e+00,6.30555555555555535818e-01,2.23585679996176622807e-02);
INSERT INTO "paretonas_epochs" VALUES(5,1,'finetune',2,1.2314319610595703125e+00,0.675,2.25571899936767295002e-02);
INSERT INTO "paretonas_epochs" VALUES(6,2,'train',0,2.14191603660583496093e+00,5.97222222222222209886e-01,4.36646489979466423392e-02);
INSERT INTO "paretonas_epochs" VALUES(7,2,'train',1,1.521167755126953125e+00,6.97222222222222187681e-01,3.81791580002754926681e-02);
INSERT INTO "paretonas_epochs" VALUES(8,3,'train',0,2.0,0.25,0.06);
CREATE TABLE paretonas_evaluations (
	id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	worker VARCHAR(256) NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	started DATETIME NOT NULL, 
	trial_number INTEGER, 
	"key" VARCHAR(32), 
	candidate JSON, 
	architecture_key VARCHAR(32), 
	deployed_key VARCHAR(32), 
	task VARCHAR(256), 
	seed INTEGER, 
	threads INTEGER, 
	device VARCHAR(16), 
	kind VARCHAR(32), 
	reason VARCHAR, 
	seconds DOUBLE, 
	weights VARCHAR(256), 
	quantized VARCHAR(256), 
	reused INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES paretonas_studies (id) ON DELETE CASCADE, 
	FOREIGN KEY(architecture_key) REFERENCES paretonas_architectures ("key"), 
	FOREIGN KEY(deployed_key) REFERENCES paretonas_architectures ("key"), 
	FOREIGN KEY(reused) REFERENCES paretonas_evaluations (id) ON DELETE SET NULL
);
INSERT INTO "paretonas_evaluations" VALUES(1,1,'complete','vm/25226/1795361938.72','vm','2026-11-22 15:39:10.617209',0,'735e59b771eeabf0460b7882394681ce','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 8, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.27050693516188196, "training": {"epochs": 2, "finetune_epochs": 3, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.0, "temperature": 4.0, "feature_distillation": 0.0}}','f1c62aec5e11c21580c60d3a8d59308a','fbab9b90210c99d18e6efcffadd0e993','digits',0,1,'cpu',NULL,NULL,3.89810502199543407186e+00,'f09feee4-32b2-4974-b941-4bd19fafc155',NULL,NULL);
INSERT INTO "paretonas_evaluations" VALUES(2,1,'complete','vm/25226/1795361938.72','vm','2026-11-22 15:39:14.720758',1,'7baa693d9803b6fc83172f0acab10b75','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 12, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.07317740585364624, "training": {"epochs": 2, "finetune_epochs": 3, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.0, "temperature": 4.0, "feature_distillation": 0.0}}','21a07f2a6a7a2221ac53939b11c34604','21a07f2a6a7a2221ac53939b11c34604','digits',0,1,'cpu',NULL,NULL,4.01462417998118326067e-01,'9fe6e66b-0b31-4f11-a18a-a0c7444ed688',NULL,NULL);
INSERT INTO "paretonas_evaluations" VALUES(3,1,'running','vm/1/1795338208.41','vm','2026-11-22 15:39:15.530174',2,'ebfd07f3117e82fec6b61e853395d8a1','{"architecture": {"version": 1, "input_shape": [1, 8, 8], "blocks": [{"op": "flatten"}, {"op": "linear", "width": 12, "norm": "batch", "activation": "relu"}], "heads": [{"outputs": 10, "name": "head"}]}, "pruning": 0.6068649927412264, "training": {"epochs": 2, "finetune_epochs": 3, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.0, "temperature": 4.0, "feature_distillation": 0.0}}','21a07f2a6a7a2221ac53939b11c34604','5ee7ebc1110d817f53b69d8a338a3b12','digits',0,1,'cpu',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "paretonas_evaluations" VALUES(4,1,'open','vm/1/1795338208.41','vm','2026-11-22 15:39:15.588084',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE paretonas_latencies (
	id INTEGER NOT NULL, 
	architecture_key VARCHAR(32) NOT NULL, 
	backend VARCHAR(64) NOT NULL, 
	version VARCHAR(256) NOT NULL, 
	hardware VARCHAR(256) NOT NULL, 
	threads INTEGER NOT NULL, 
	batch INTEGER NOT NULL, 
	precision VARCHAR(32) NOT NULL, 
	latency_ms DOUBLE NOT NULL, 
	noise DOUBLE NOT NULL, 
	median_ms DOUBLE NOT NULL, 
	p10_ms DOUBLE NOT NULL, 
	p90_ms DOUBLE NOT NULL, 
	samples BLOB NOT NULL, 
	warm_up INTEGER NOT NULL, 
	seconds DOUBLE NOT NULL, 
	input_shape JSON NOT NULL, 
	together INTEGER NOT NULL, 
	run VARCHAR(64) NOT NULL, 
	host VARCHAR(256) NOT NULL, 
	sittings INTEGER NOT NULL, 
	measured DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (backend, version, hardware, threads, batch, precision, architecture_key), 
	FOREIGN KEY(architecture_key) REFERENCES paretonas_architectures ("key") ON DELETE CASCADE
);
INSERT INTO "paretonas_latencies" VALUES(1,'fbab9b90210c99d18e6efcffadd0e993','torch','torch 2.15.0+cu132','Intel(R) Xeon(R) Processor',1,1,'float32',9.22731059650927221138e-02,1.98487911705364852843e-02,9.82444994151592254638e-02,7.94779993593692779541e-02,1.26502193510532406905e-01,X'789C0D938B37157600C7A35C26458F65AB36A7AD972D23B558F5F9B5B39D726AC9D24B7AD8528C7616AAA53A65D539737596D5EA785F426EF22A575CD715A13097EBDDF51A57AA93A924CF1E66FE83EFF97C3EDFEA3BDE6253F863E4313771BE93C1529334563C4EC16D4E09A3CB12715F9F8AF2B99AADA5857C521C87DF4239A77A4AD8FBE01A6F2B23593D3045CCD8A72523689170717B8889269792A02886774553B42A12495F3C8B73237878594B5FEE53563C8A236C4114190379CCB257621E612C5A2E559018988DF76F3D5C3C6020ECBC34386F4AE7AC612F4311C9BCED8E43D6F8907749F7B9B0B69EB14FEB391FF037E169FFF293F60D9ECA6A0E7D56C78FDBEEB06A791A115F6652D7D9C9F6290958AA65BCEB9231C95186B4209AC245390CCAE2E8198BA136F0217E57F251FD3C535836E808D95D8397732561B71EF0EAA49A90D3E9AC1F2A27E27A167A8BD9E2EC8D52CA640AFABBC6594D4F45D17795131F988AEFBF92633594404D541CF6478D45807327AAD13A42D656625058CAEC901A3AB58FB928BD41E3D36CA684B492B5A788AB2E93C4D8CE7EA4F9494806127811D1429FED74F1ED5603D11CD649DF7E1D363DFF31F5C053965936B1E387721471F7F9FD482E3541BDAC1E8E65F4AE91D0DB65E2EDA1A2727E0A4E731528CCEB5878B812CBFD1A325D3B715DA4C77D408B2AB49690CC4AF4CE4A5658E9700A50E15421113A9742F60E69583E128DD23401C7E17042FF0CC3786F3AA66D2D54DB65D37BE816F17991841A34B3E37219169A52BCA6CD16C59B5F71744D1926137B894B29A662C52D6CEFC6D2EBD082D42B965D5722D19C89C575BD8CFC6E8938B8B8917B995A7E77D0607FB888FDC646C2F66031EBAA746C5EAA25D0DA48A842F288DBA960CB6D05CFBD4A199CF102BF534D381EC860DECDEB581F3317C725CFE9DD51C491F9C6A2B3BA86A3AB2562D0338BBACD2FA0BF0E9FF1BD2F3BF2491A4E674C24D2607683762B7391E89681441D8FBF958AA30172765F321163EEED048FB673B5A48DE3E36D95BCAC25A9B98D47038DC46CE926DADF549869F5F86E2CC7575A8165AC921E877E026617736E44CFF20D4A223FEF62F3C6025EAB95748CE431759A92C9E1D9F8CCE9E0976105CFECE434355EA3EDBB16FCBB72E871ED2267E436AD491F09954307277D1BF1A86BC261590B4BBCAD44D5AD3E76B636F0CD9AFA71D7D5ECB16CC7315883FFF67B386E2860B1EE3649E70669AE36145F1C6E41163459DC79D4417744162953556CB3EDE00F9F2714851662E97997D1F8D79CB93CCEA24AC370999ACCF6720C3ECCA3FE9F05C22D74821853B4225DA7C324CD4CBC79A647E959C1CAC052DC6D260827C32A2275B52CC9D7607145CD8CBE1C66FE5ACBBE25596C7AAF9CF753E574F7D7A2F75190BAA71E697C3645FE2A6C4E9431D7E32DD29802D2DFB42199D68DFCE55D1CE6E650DD9C80779D9CFEADE37F71481E7754C29AE4543C73AE61EADB84615E2FF6131BB9D1A26564D6030A5F8E738FEA216CE1633E76ADA420788E88B1D75168FD8CE70DF954F8B5E11DADE62F3705A70D9359F9B58528BA68248ED914119855CAB2F34954E89369081A4262D1CE40F013A4B92ACECD3413F21729283D62693D188FCB9A722EAC2BC0DBBC816EF32ABCF7D7603DAF89FF017A937F10',5,8.33713339670794084668e-02,'[1, 8, 8]',2,'b66da2a163919205','vm',1,'2026-11-22 15:39:15.467100');
INSERT INTO "paretonas_latencies" VALUES(2,'21a07f2a6a7a2221ac53939b11c34604','torch','torch 2.15.0+cu132','Intel(R) Xeon(R) Processor',1,1,'float32',9.64955162806893640414e-02,1.510168680555477351e-02,9.41089987754821777343e-02,7.69145965576171902755e-02,1.24645601958036422729e-01,X'789C1DCFE94B930100C0E15A252E843CD064E58792FA50AEA86415ECF74A5496852969AD4090504B883E546605114596451E05E9B474A9B3E61045D12DCD63F358CCA99BB174C3D26C53E695475881A1163DFFC12313F909C68831AC4173B449348C1B34F8E416F362573179178A48CFAA2464AC0453DC2CC96BBA30D7F613725E2CAC578984D0E616EC7E46E26ED53058514D99788155A3E54C4E15F247914FA9BF129F2D1A440BAF584E51B2F193127BC00049DF6DB8AF98E8DBA02675C2C2C1A40662AAB54896CC1C8BAF20CB51C48D674A7E880B0954F4E3F46DA643FA15AFA815DEEC1EC5FDC4887CB813A9AE15C72F2FA17CB80E456F1DBEDEF5641CFFC0DB7A154E5521CA3305DC54790B3F53B4381EBEE6E9502B61473C0C482C745C34527BB989CC2107A2391B5581BD2CC4D4D0532712B2678C78E24582C5D440B4F4338D95EF489BD2E1D9EF23B4045B306537A1CDAC605B9E167DF46AA1A0C38AD4CBC6604E17B1ED9B85AA3D6622AEEBD93A528352DE8A3A61903BF71B7962D7B22E78007D4B31DAE1972C360C70EA6E255125A57C3BBA8262DA862AC1CEF34403E946DDBFBB0EB7A696E4B412E677EA71E59671E0D108B2AE597664F5220B753311E92D5C9A77A138EC226593932FCE1E52E51FD18719F0CFE8A6AC7F82F093ED3CBEA74679568D5F8E58F0C8DAC89F747122B29AEDE15A1EA8D70A45FBCAB89D5E48C23907B9D7FAF06499911BCC74078C93BBD443ECB295D3C556A6837F9378E83D9D7D1261EFCA38D6AB33640635E2962DD26CABFD7FD458D5FC0541BA2251',5,4.09986190206836909055e-02,'[1, 8, 8]',2,'b66da2a163919205','vm',1,'2026-11-22 15:39:15.491862');
CREATE TABLE paretonas_measurements (
	evaluation_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value DOUBLE NOT NULL, 
	detail JSON NOT NULL, 
	PRIMARY KEY (evaluation_id, name), 
	FOREIGN KEY(evaluation_id) REFERENCES paretonas_evaluations (id) ON DELETE CASCADE
);
INSERT INTO "paretonas_measurements" VALUES(1,'accuracy',0.675,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'parameters',466.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'macs',444.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(1,'latency_ms',9.22731059650927221138e-02,'{"latency_ms": 0.09227310596509272, "noise": 0.019848791170536485, "median_ms": 0.09824449941515923, "p10_ms": 0.07947799935936928, "p90_ms": 0.1265021935105324, "samples": 330, "warm_up": 5, "seconds": 0.08337133396707941, "input_shape": [1, 8, 8], "together": 2, "run": "b66da2a163919205", "host": "vm", "sittings": 1, "noisy": false, "backend": "torch", "version": "torch 2.15.0+cu132", "hardware": "Intel(R) Xeon(R) Processor", "threads": 1, "batch": 1, "precision": "float32"}');
INSERT INTO "paretonas_measurements" VALUES(2,'accuracy',6.97222222222222187681e-01,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'parameters',922.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'macs',888.0,'{}');
INSERT INTO "paretonas_measurements" VALUES(2,'latency_ms',9.64955162806893640414e-02,'{"latency_ms": 0.09649551628068936, "noise": 0.015101686805554774, "median_ms": 0.09410899877548218, "p10_ms": 0.07691459655761719, "p90_ms": 0.12464560195803642, "samples": 150, "warm_up": 5, "seconds": 0.04099861902068369, "input_shape": [1, 8, 8], "together": 2, "run": "b66da2a163919205", "host": "vm", "sittings": 1, "noisy": false, "backend": "torch", "version": "torch 2.15.0+cu132", "hardware": "Intel(R) Xeon(R) Processor", "threads": 1, "batch": 1, "precision": "float32"}');
CREATE TABLE paretonas_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "paretonas_schema" VALUES(4);
CREATE TABLE paretonas_studies (
	id INTEGER NOT NULL, 
	name VARCHAR(512) NOT NULL, 
	definition JSON NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "paretonas_studies" VALUES(1,'old','{"version": 5, "space": {"type": "mlp", "layers": 1, "blocks": "linear", "widths": [4, 8, 12], "width_per": ["network", "layer"], "ratios": [1, 2, 4], "norms": "batch", "activations": "relu", "activation_per": "network", "slopes": 0.01, "embedding_widths": 8, "sharing": ["none", "all"], "sets": 2, "trunk": [0.5, 1.0], "pruning": {"low": 0.0, "high": 0.7, "step": null, "log": false}, "training": {"epochs": 2, "finetune_epochs": 3, "finetune_rate": 1.0, "batch_size": 64, "learning_rate": 0.01, "weight_decay": 0.01, "optimizer": "adamw", "label_smoothing": 0.0, "dropout": 0.0, "augment": 0.0, "distillation": 0.5, "temperature": 4.0, "feature_distillation": 0.0}, "compression": {"criterion": "l1", "scope": "layer", "removed_layers": 0, "sparsity": 0.0, "pattern": "global", "schedule": "one_shot", "self_distillation": 0.0, "bits": 32, "quantization": "dynamic", "quantization_aware": false}}, "task": {"type": "digits"}, "objectives": ["accuracy", "parameters", "latency_ms"], "sampler": "random", "seed": 0, "threads": 1, "device": "cpu", "teacher": "", "moves": 0.0, "constraints": [], "stopping": "forecast", "fingerprint": ""}','2026-11-22 15:39:10.420223');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
INSERT INTO "study_directions" VALUES(3,'MINIMIZE',1,2);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy", "parameters", "latency_ms"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8, 12]}}');
INSERT INTO "trial_params" VALUES(2,1,'pruning',2.70506935161881956197e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.7, "log": false}}');
INSERT INTO "trial_params" VALUES(3,2,'width',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8, 12]}}');
INSERT INTO "trial_params" VALUES(4,2,'pruning',7.31774058536462379542e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.7, "log": false}}');
INSERT INTO "trial_params" VALUES(5,3,'width',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8, 12]}}');
INSERT INTO "trial_params" VALUES(6,3,'pruning',6.0686499274122640557e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.7, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:f09feee4-32b2-4974-b941-4bd19fafc155','"{\"artifact_id\": \"f09feee4-32b2-4974-b941-4bd19fafc155\", \"filename\": \"net.safetensors\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,2,'artifacts:9fe6e66b-0b31-4f11-a18a-a0c7444ed688','"{\"artifact_id\": \"9fe6e66b-0b31-4f11-a18a-a0c7444ed688\", \"filename\": \"net.safetensors\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'network','"flatten \u00b7 linear6"');
INSERT INTO "trial_user_attributes" VALUES(2,2,'network','"flatten \u00b7 linear12"');
INSERT INTO "trial_user_attributes" VALUES(3,3,'network','"flatten \u00b7 linear5"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.675,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,466.0,'FINITE');
INSERT INTO "trial_values" VALUES(3,1,2,8.94743771588465686139e-02,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,0,6.97222222222222187681e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,2,1,922.0,'FINITE');
INSERT INTO "trial_values" VALUES(6,2,2,8.19705570522013121648e-02,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 15:39:10.623939','2026-11-22 15:39:14.703638');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-22 15:39:14.731585','2026-11-22 15:39:15.236734');
INSERT INTO "trials" VALUES(3,2,1,'RUNNING','2026-11-22 15:39:15.543917',NULL);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX ix_paretonas_evaluations_study_id ON paretonas_evaluations (study_id);
CREATE INDEX ix_paretonas_evaluations_key ON paretonas_evaluations ("key");
CREATE INDEX ix_paretonas_latencies_architecture_key ON paretonas_latencies (architecture_key);
CREATE INDEX ix_paretonas_epochs_evaluation_id ON paretonas_epochs (evaluation_id);
COMMIT;
